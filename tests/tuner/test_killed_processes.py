"""A real `tune` that is killed or interrupted, and what is left of its study."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from optuna.trial import TrialState

from results.record import TrialRecord
from tuner.errors import BadInput, Exit
from tuner.folder import Folder
from tuner.options import Options
from tuner.run import begin, resume
from tuner.storage import load, records

TRIALS = 6
TRAFFIC = {"input_tokens": 512, "output_tokens": 128, "requests": 60, "request_rate": 4.0}
STUDY = Options(
    objective="chat",
    gpu="l4",
    gpus=1,
    trials=TRIALS,
    sla="p95_e2el_ms<=60000",
    mlflow="off",
    seed=3,
    **TRAFFIC,  # type: ignore[arg-type]
)


def arguments(folder: Path) -> list[str]:
    names = ("objective", "gpu", "gpus", "trials", "sla", "mlflow", "seed", *TRAFFIC)
    given = [f"--{name.replace('_', '-')}={getattr(STUDY, name)}" for name in names]
    return [*given, f"--output={folder}"]


@contextmanager
def tune(*asked: str) -> Iterator[subprocess.Popen[str]]:
    """A `tune` in a session of its own, gone at the end whatever happens."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tuner", *asked],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        cwd=Path(__file__).parents[2],
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def wait_for_trials(process: subprocess.Popen[str], count: int) -> None:
    """Until so many trials are told: `tune` prints a line for each."""
    assert process.stderr is not None
    while count:
        line = process.stderr.readline()
        assert line, "tune ended before its time"
        count -= line.split("/")[0].isdigit()


def kill(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def go_on(folder: Path) -> Exit:
    return resume(folder, storage_url=None, mlflow="off", json=False, quiet=True)


def lines(folder: Path) -> list[TrialRecord]:
    """What ``trials.jsonl`` holds; a last line cut short is not there."""
    text = (folder / "trials.jsonl").read_text()
    return [TrialRecord.from_json(line) for line in text.splitlines(keepends=True) if "\n" in line]


def told(folder: Path) -> list[TrialRecord]:
    """The answered trials in storage."""
    _, _, studies = load(Folder(folder), None)
    return [r for r in records(studies) if r.answered]


def check(folder: Path, expected: Sequence[TrialRecord]) -> None:
    """As many records as trials, none twice, none lost, the same as without a kill."""
    kept = told(folder)
    assert lines(folder) == kept
    assert len({r.number for r in kept}) == len(kept) == TRIALS
    assert [r.config for r in kept] == [r.config for r in expected]
    assert [r.loads for r in kept] == [r.loads for r in expected]
    assert [r.launch_id for r in kept] == [*range(TRIALS)]
    states = {trial.state for trial in load(Folder(folder), None)[2][0].trials}
    assert states <= {TrialState.COMPLETE, TrialState.FAIL}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> list[TrialRecord]:
    folder = tmp_path_factory.mktemp("plain") / "study"
    options = {name: getattr(STUDY, name) for name in Options.__dataclass_fields__}
    assert begin(Options(**{**options, "output": folder, "quiet": True})) is Exit.DONE
    return lines(folder)


def test_killed_mid_trial_and_resumed_a_study_has_the_trials_it_would_have_had(
    tmp_path: Path, uninterrupted: list[TrialRecord]
) -> None:
    folder = tmp_path / "study"
    with tune(*arguments(folder)) as process:
        wait_for_trials(process, 2)
        with pytest.raises(BadInput) as refused:
            go_on(folder)
        kill(process)
    in_use = f"{folder} is in use by another tune process; wait for it or stop it."
    assert str(refused.value) == in_use
    before = lines(folder)
    assert 2 <= len(before) < TRIALS
    assert go_on(folder) is Exit.DONE
    check(folder, uninterrupted)
    assert lines(folder)[: len(before)] == before


def test_killed_again_and_again_at_any_moment_a_study_comes_to_its_end(
    tmp_path: Path, uninterrupted: list[TrialRecord]
) -> None:
    folder, moments = tmp_path / "study", random.Random(20231116)
    with tune(*arguments(folder)) as process:
        wait_for_trials(process, 1)
        kill(process)
    for _ in range(3):
        with tune("resume", str(folder), "--mlflow=off") as process:
            try:
                process.wait(timeout=moments.uniform(1.0, 3.0))
            except subprocess.TimeoutExpired:
                kill(process)
    assert go_on(folder) is Exit.DONE
    check(folder, uninterrupted)


@pytest.mark.parametrize("signals", [[signal.SIGTERM], [signal.SIGINT, signal.SIGINT]])
def test_an_interrupted_study_says_how_to_go_on_and_has_lost_nothing(
    signals: list[signal.Signals], tmp_path: Path, uninterrupted: list[TrialRecord]
) -> None:
    folder = tmp_path / "study"
    with tune(*arguments(folder)) as process:
        wait_for_trials(process, 2)
        for number in signals:
            process.send_signal(number)
        answer, said = process.communicate()
    assert process.returncode == Exit.INTERRUPTED
    done = len(lines(folder))
    assert said.splitlines()[-1] == (
        f"Interrupted after {done} of {TRIALS} trials; nothing is lost. "
        f"Go on with: tune resume {folder}"
    )
    assert f"Tried {done} configs" in answer
    assert (folder / "summary.json").exists()
    assert told(folder) == lines(folder)
    assert go_on(folder) is Exit.DONE
    check(folder, uninterrupted)


def test_a_finished_study_resumed_prints_its_result_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "study"
    options = {name: getattr(STUDY, name) for name in Options.__dataclass_fields__}
    begin(Options(**{**options, "output": folder, "quiet": True, "trials": 2}))
    first = capsys.readouterr().out
    assert go_on(folder) is Exit.DONE
    again = capsys.readouterr().out
    took = "Took "
    assert [line for line in again.splitlines() if not line.startswith(took)] == [
        line for line in first.splitlines() if not line.startswith(took)
    ]
    assert [len(s.trials) for s in load(Folder(folder), None)[2]] == [2]
