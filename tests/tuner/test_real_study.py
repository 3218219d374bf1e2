"""Whole studies on real vLLM: from the command line to the files, killed, interrupted, resumed."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from results.record import TrialRecord
from runners.process import session_processes
from runners.simulated.calibration import latest
from tests.runners.vllm.conftest import (  # noqa: F401 (fixtures)
    Forked,
    deployment,
    fork,
    forked,
    tiny_model,
    vllm_command,
)
from tuner.engines import FORK
from tuner.errors import Exit

ROOT = Path(__file__).parents[2]
STUDY = (
    *("--objective=chat", "--engine=vllm", "--scale-tokens=0.05", "--concurrency=8"),
    *("--requests=40", "--seed=1", "--sla=median_e2el_ms<=60000", "--load=offered"),
    *("--set=enforce_eager=true", "--set=gpu_memory_utilization=0.1", "--mlflow=off"),
    *("--set=dtype=float32", "--pairs=0"),
)
CONFIRMED = ("--pairs=5", "--set=performance_mode=balanced")
"""In pairs, but without vLLM's other modes, each of which is five more launches."""
FEW = "--requests=10"


@pytest.fixture
def environ(vllm_command: str, tmp_path: Path) -> Iterator[dict[str, str]]:  # noqa: F811
    """Of a tuner that is alone: it sees no other's notes, and leaves none."""
    notes = tmp_path / "runtime"
    notes.mkdir()
    yield {
        **os.environ,
        "PARETUNE_VLLM": vllm_command,
        "XDG_RUNTIME_DIR": str(notes),
        FORK: "1",
    }
    assert sessions(notes) == {}


def sessions(notes: Path) -> dict[int, list[psutil.Process]]:
    """Engines that are noted, by session."""
    sids = [int(path.name.partition("-")[0]) for path in notes.glob("paretune/*.json")]
    return {sid: session_processes(sid) for sid in sids}


@contextmanager
def tune(environ: dict[str, str], *asked: str) -> Iterator["subprocess.Popen[str]"]:
    """A `tune` in a session of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tuner", *asked],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        cwd=ROOT,
        env=environ,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def ended(environ: dict[str, str], *asked: str) -> tuple[int, str, str]:
    """Status, answer and what was said."""
    with tune(environ, *asked) as process:
        out, err = process.communicate()
    return process.returncode, out, err


def until(process: "subprocess.Popen[str]", start: str) -> None:
    """Until it says a line that starts so."""
    assert process.stderr is not None
    said: list[str] = []
    while not (said and said[-1].startswith(start)):
        said.append(process.stderr.readline())
        assert said[-1], said


def lines(study: Path) -> list[TrialRecord]:
    text = (study / "trials.jsonl").read_text("utf-8")
    return [TrialRecord.from_json(line) for line in text.splitlines()]


def tried(study: Path) -> list[int]:
    """The trials by number; one that was cut off is tried again under another."""
    return [record.number for record in lines(study) if record.origin != "confirm"]


def summary_of(study: Path) -> Any:
    return json.loads((study / "summary.json").read_text("utf-8"))


def arguments(model: Path, study: Path, trials: int) -> list[str]:
    return [*STUDY, f"--trials={trials}", f"--model={model}", f"--output={study}"]


@pytest.mark.timeout(1200)
def test_a_study_on_real_vllm_ends_in_files_that_start_it(
    environ: dict[str, str],
    tiny_model: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    study = tmp_path / "study"
    status, out, err = ended(environ, *arguments(tiny_model, study, 4), *CONFIRMED)
    assert status == Exit.DONE, err
    assert err.startswith(f"vLLM 0.32.0+cpu: {tiny_model} on 1 x cpu.\n")
    summary = summary_of(study)
    assert (summary["engine"], summary["simulated"]) == ("vllm", False)
    assert summary["trials"]["done"] == 4
    records = lines(study)
    assert tried(study) == [0, 1, 2, 3]
    _check_winners(study, summary)
    _check_pairs(summary, records)
    assert "The simulated engine has learnt: " in err
    learnt = latest("cpu", str(tiny_model), 1)
    assert learnt is not None
    whole = [r for r in records if r.origin != "confirm" and r.complete]
    assert learnt[1].calibration.probes == len(whole) >= 3
    logs = {path.name for path in (study / "logs").glob("engine-*.log")}
    assert logs == {f"engine-{launch}.log" for launch in range(len(logs))}
    assert len(logs) == len({r.launch_id for r in records}) < len(records)
    assert {"step_log" in r.loads["offered"] for r in records if r.origin != "confirm"} == {True}
    shown = ended({**environ, "PARETUNE_VLLM": "/nowhere/vllm"}, "show", str(study))
    assert shown == (Exit.DONE, out, "")
    status, again, _ = ended(environ, "resume", str(study))
    assert (status, _timeless(again)) == (Exit.DONE, _timeless(out))
    assert lines(study) == records
    _check_file(environ, next((study / "best").iterdir()))


def _check_file(environ: dict[str, str], file: Path) -> None:
    """It is launched anew; two short runs on a busy machine say nothing more."""
    status, out, err = ended(environ, "verify", str(file), "--runs=2", "--json")
    assert status in (Exit.DONE, Exit.WORSE_THAN_PROMISED), err
    found = json.loads(out)
    assert (found["quadrant"], found["runs"]) == (file.stem, 2)
    assert found["metrics"]["output_throughput"]["measured"] > 0


def _check_winners(study: Path, summary: dict[str, Any]) -> None:
    """Each has a file that the stock engine starts from."""
    won = {name: best for name, best in summary["best"].items() if best}
    assert {path.stem for path in (study / "best").iterdir()} == won.keys()
    for name, best in won.items():
        settings = yaml.safe_load((study / "best" / f"{name}.yaml").read_text("utf-8"))
        assert settings["load-format"] == "dummy"
        assert settings["enforce-eager"] is True
        assert "scheduler-cls" not in settings
        assert best["confirmed"]


def _check_pairs(summary: dict[str, Any], records: list[TrialRecord]) -> None:
    """Every finalist was measured beside the default, from its file, five times over."""
    chosen = summary["confirmation"].values()
    arms = {"default", *(f"trial {found['trial']}" for found in chosen)} if chosen else set()
    runs = [r for r in records if r.origin == "confirm"]
    assert sorted((r.pair, r.arm) for r in runs) == sorted(
        (pair, arm) for pair in range(5) for arm in arms
    )
    assert {r.loads["offered"]["completed"] for r in runs} <= {40}
    assert {found["runs"] for found in chosen} <= {5}
    assert "not measured" not in {found["outcome"] for found in chosen}


def _timeless(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.startswith("Took ")]


@pytest.mark.timeout(600)
def test_the_engine_of_a_killed_tuner_is_ended_by_the_next_which_finishes_the_study(
    environ: dict[str, str],
    tiny_model: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    study = tmp_path / "study"
    with tune({**environ, FORK: ""}, *arguments(tiny_model, study, 2), FEW) as process:
        until(process, "1/2")
        [sid] = killed(process, tmp_path / "runtime")
    assert session_processes(sid)
    assert tried(study) == [0]
    status, _, err = ended(environ, "resume", str(study))
    assert f"Ended `vllm serve` (process {sid}), left by a tuner that was killed" in err
    assert status == Exit.DONE, err
    assert len(tried(study)) == 2
    assert session_processes(sid) == []


def killed(process: "subprocess.Popen[str]", notes: Path) -> list[int]:
    """The sessions whose notes a tuner leaves that is killed now."""
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    return list(sessions(notes))


@pytest.mark.timeout(600)
def test_interrupted_then_killed_a_study_leaves_no_engine_and_goes_on(
    environ: dict[str, str],
    tiny_model: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    study = tmp_path / "study"
    with tune(environ, *arguments(tiny_model, study, 3), FEW) as process:
        until(process, "1/3")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    assert process.returncode == Exit.INTERRUPTED
    resume = f"Go on with: tune resume {study}"
    assert err.splitlines()[-1] == f"Interrupted after 1 of 3 trials; nothing is lost. {resume}"
    assert sessions(tmp_path / "runtime") == {}
    with tune(environ, "resume", str(study)) as process:
        until(process, "2/3")
        [sid] = killed(process, tmp_path / "runtime")
    assert ended(environ, "resume", str(study))[0] == Exit.DONE
    assert len(tried(study)) == 3
    # A forked engine dies with its launcher, which notices when the tuner is gone.
    assert session_processes(sid) == []


def test_capacity_is_searched_on_the_engine_that_is_up(
    environ: dict[str, str],
    tiny_model: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    study = tmp_path / "study"
    quick = ("--load=both", "--sla=median_e2el_ms<=1500", "--requests=10", "--concurrency=1")
    status, _, err = ended(environ, *arguments(tiny_model, study, 1), *quick)
    assert status in (Exit.DONE, Exit.NO_WINNER), err
    record = lines(study)[0]
    assert record.failure is None
    assert sorted(record.loads) == ["capacity", "offered"]
    levels = [probe["level"] for probe in record.loads["capacity"]["probes"]]
    assert levels[0] == 1
    assert len(levels) > 1


def test_a_server_started_by_someone_else_is_measured_over_the_network(
    environ: dict[str, str],
    forked: Forked,  # noqa: F811
    tmp_path: Path,
) -> None:
    study = tmp_path / "study"
    file = tmp_path / "server.yaml"
    file.write_text(
        f"model: {forked.launch.model}\nmax-model-len: 2048\nload-format: dummy\n"
        "enforce-eager: true\ngpu-memory-utilization: 0.1\nserved-model-name: tiny\n"
    )
    traffic = ("--input-tokens=30", "--output-tokens=8", "--concurrency=2", "--requests=10")
    with forked.runner().launch_file(file) as engine:
        url = f"--url={engine.running.server.url}/v1"
        asked = ("--objective=chat", url, *traffic, "--sla=median_e2el_ms<=60000")
        measured = ended(environ, "measure", *asked)
        kept = ("--load=offered", "--mlflow=off", f"--output={study}")
        status, _, err = ended(environ, *asked, *kept)
    answer = json.loads(measured[1])
    assert (answer["engine"]["model"], answer["engine"]["version"]) == ("tiny", "0.32.0")
    assert (answer["metrics"]["completed"], answer["metrics"]["preemptions"]) == (10, 0)
    assert status == Exit.DONE, err
    [record] = lines(study)
    assert (record.config, record.loads["offered"]["completed"]) == ({}, 10)
    assert list((study / "best").iterdir()) == []
