"""What a study writes and says, from the command line to the exit status."""

import json
import signal
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from runners import Failure, FailureKind
from runners.replay import ReplayRunner
from search_spaces import Config, Rule
from tests.tuner.conftest import QUICK, Tune, served
from tuner.problem import Problem
from tuner.spec import problem_of

BOTH_LOADS = (*QUICK, "--load=both", "--input-tokens=512", "--output-tokens=64")
WINNERLESS = (*QUICK[:-1], "--sla=p95_ttft_ms<=1")
SUMMARY = {
    *("schema_version", "study", "objective", "engine", "engine_version", "simulated"),
    *("uncertainty", "hardware", "model", "workloads", "seed", "trials", "cost", "baseline"),
    *("best", "regret", "front", "unused_knobs", "infeasible"),
}
LINE = {
    *("number", "config", "origin", "loads", "sla", "failure", "stopped_early", "engine_s"),
    "launch_id",
}
QUADRANTS = ["live-at-scale", "interactive", "economy", "bulk"]


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Config], Any]], ReplayRunner]:
    """Has `tune` launch engines that fail on demand."""

    def use(refusals: Callable[[Config], Failure | None]) -> ReplayRunner:
        runner = ReplayRunner(measurements=served, refusals=refusals)
        monkeypatch.setattr("tuner.run.engine_of", lambda spec, logs, say: nullcontext(runner))
        return runner

    return use


def untimed(summary: dict[str, Any]) -> dict[str, Any]:
    return {**summary, "cost": {**summary["cost"], "wall_s": None}}


def test_a_finished_study_resumed_tries_nothing_and_prints_its_result(
    tmp_path: Path, tune: Tune
) -> None:
    folder = tmp_path / "study"
    tune(*QUICK, "--trials=2", "--quiet", f"--output={folder}")
    before = untimed(json.loads((folder / "summary.json").read_text()))
    resumed = tune("resume", folder, "--json")
    assert (resumed.status, resumed.err) == (0, "")
    assert untimed(json.loads(resumed.out)) == before
    assert len((folder / "trials.jsonl").read_text().splitlines()) == 2


def test_without_a_winner_the_answer_is_written_all_the_same(tmp_path: Path, tune: Tune) -> None:
    folder = tmp_path / "study"
    ended = tune(*WINNERLESS, "--trials=2", "--json", f"--output={folder}")
    assert ended.status == 3
    summary = json.loads(ended.out)
    assert summary["best"]["interactive"] is None
    assert summary["infeasible"]["binding"] == "p95_ttft_ms<=1"
    assert not (folder / "best" / "interactive.yaml").exists()
    again = tune("resume", folder, "--json")
    assert (again.status, untimed(json.loads(again.out))) == (0, untimed(summary))


def test_an_engine_that_starts_with_no_config_ends_with_exit_4_and_an_answer(
    tmp_path: Path,
    tune: Tune,
    engine: Callable[[Callable[[Config], Failure | None]], ReplayRunner],
) -> None:
    engine(lambda config: Failure(FailureKind.REFUSED, "no such flag"))
    folder = tmp_path / "study"
    ended = tune(*QUICK, "--trials=2", "--json", f"--output={folder}")
    assert ended.status == 4
    assert json.loads(ended.out)["trials"]["failed"] == 2


def test_failures_of_the_host_end_with_exit_4_what_was_found_and_how_to_go_on(
    tmp_path: Path,
    tune: Tune,
    engine: Callable[[Callable[[Config], Failure | None]], ReplayRunner],
) -> None:
    launches = count()
    taken = Failure(FailureKind.HOST, "port 8000 is taken")
    runner = engine(lambda config: taken if next(launches) in (1, 2, 3) else None)
    folder = tmp_path / "my study"
    ended = tune(*QUICK, "--gpus=4", "--trials=4", "--json", f"--output={folder}")
    assert ended.status == 4
    assert ended.err == (
        "tune: The host failed 3 times in a row: port 8000 is taken. "
        f"Go on with: tune resume '{folder}'\n"
    )
    assert json.loads(ended.out)["trials"]["done"] == 1
    resumed = tune("resume", folder, "--json")
    assert (resumed.status, resumed.err) == (0, "")
    assert json.loads(resumed.out)["trials"]["done"] == 4
    assert runner.launched[1] == runner.launched[4]


def test_a_rule_nothing_proposed_keeps_ends_with_exit_2_and_its_name(
    tmp_path: Path, tune: Tune, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hopeless(*args: Any) -> Problem:
        problem = problem_of(*args)
        never = Rule("never", "so that the test ends", lambda config: False)
        return replace(problem, space=replace(problem.space, rules=(never,)))

    monkeypatch.setattr("tuner.run.problem_of", hopeless)
    monkeypatch.setattr("tuner.study.UNTRIED_IN_A_ROW", 4)
    ended = tune(*QUICK, "--trials=2", "--quiet", f"--output={tmp_path}/study")
    assert (ended.status, ended.out) == (2, "")
    assert ended.err == (
        "tune: 4 proposals in a row broke a rule: `never` must hold: so that the test ends; "
        "widen a --range or change a --set that leaves nothing else.\n"
    )


def test_an_interrupt_before_the_study_has_begun_leaves_nothing(
    tmp_path: Path, tune: Tune, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: object) -> None:
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr("tuner.run.size_to_default", interrupted)
    ended = tune(*QUICK, "--quiet", f"--output={tmp_path}/study")
    assert (ended.status, ended.out) == (130, "")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_while_the_study_is_made_comes_once_it_is_there(
    tmp_path: Path, tune: Tune, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tuner import storage

    create = storage.create

    def interrupted(*args: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return create(*args)

    monkeypatch.setattr("tuner.run.storage.create", interrupted)
    folder = tmp_path / "study"
    ended = tune(*QUICK, "--trials=2", "--quiet", f"--output={folder}")
    said = "Interrupted after 0 of 2 trials; nothing is lost. Go on with: tune resume"
    assert (ended.status, ended.out, ended.err) == (130, "", f"{said} {folder}\n")
    assert tune("resume", folder, "--quiet").status == 0


def test_what_holds_no_study_is_not_resumed_and_left_alone(tmp_path: Path, tune: Tune) -> None:
    for command in ("resume", "show", "sync"):
        ended = tune(command, tmp_path)
        said = f"tune: {tmp_path} holds no study (no study.db).\n"
        assert (ended.status, ended.out, ended.err) == (2, "", said)
    assert list(tmp_path.iterdir()) == []


def test_a_study_in_another_database_is_resumed_from_there(tmp_path: Path, tune: Tune) -> None:
    url = f"sqlite:///{tmp_path}/shared.db"
    for name in ("one", "two"):
        begun = [*QUICK, "--trials=2", f"--study={name}", "--quiet", f"--storage={url}"]
        assert tune(*begun, f"--output={tmp_path}/{name}").status == 0
        assert not (tmp_path / name / "study.db").exists()
    twice = tune(*begun, f"--output={tmp_path}/other")
    said = "tune: The database already holds a study 'two'; choose another --study.\n"
    assert (twice.status, twice.out, twice.err) == (2, "", said)
    assert not (tmp_path / "other").exists()
    for command in ("resume", "show"):
        answer = json.loads(tune(command, tmp_path / "one", "--json").out)
        assert (answer["study"], answer["trials"]["done"]) == ("one", 2)


def test_a_database_address_that_may_hold_a_secret_is_not_kept_and_must_be_named_again(
    tmp_path: Path, tune: Tune
) -> None:
    folder = tmp_path / "study"
    # Whatever stands after the `?` may be a password.
    url = f"sqlite:///{tmp_path}/shared.db?timeout=17"
    begun = [*QUICK, "--trials=2", "--quiet", f"--output={folder}"]
    assert tune(*begun, f"--storage={url}").status == 0
    for path in folder.rglob("*"):
        assert path.is_dir() or b"timeout=17" not in path.read_bytes()
    without = tune("resume", folder)
    said = f"tune: The database of {folder} is elsewhere; name it with --storage URL.\n"
    assert (without.status, without.out, without.err) == (2, "", said)
    assert tune("resume", folder, f"--storage={url}", "--quiet").status == 0
