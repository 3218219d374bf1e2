"""Winners measured once more from their files, on an engine whose figures are known."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from objectives import Load, Measurement, Quadrant
from results.record import TrialRecord
from runners import EngineError, Failure, FailureKind
from runners.replay import Answer, ReplayEngine
from search_spaces import Config
from tests.tuner.conftest import MakeLoop, served
from tuner.problem import Problem
from tuner.relaunch import relaunch, wanted

FILE = Path("best/interactive.yaml")


@dataclass(slots=True)
class Files:
    """Launches from files; what each asks for is not read."""

    config: Config
    answer: Failure | None = None
    refusal: Failure | None = None
    launched: list[Path] = field(default_factory=list)

    @contextmanager
    def launch_file(self, path: Path) -> Iterator[ReplayEngine]:
        self.launched.append(path)
        if self.refusal:
            raise EngineError(self.refusal.kind, self.refusal.detail, engine_s=12.0)
        yield ReplayEngine(self._answer, 60.0)

    def _answer(self, load: Load) -> Answer:
        return self.answer or served(self.config, load)


@pytest.fixture
def problem(make_loop: MakeLoop) -> Problem:
    return make_loop().problem


@pytest.fixture
def winner(problem: Problem) -> TrialRecord:
    config = problem.space.default()
    return TrialRecord(number=7, objective="chat", config=config, origin="sampler", launch_id=3)


def offered(problem: Problem, config: Config) -> Measurement:
    return served(config, Load(workload=problem.cases[0].workload))


def test_a_winner_is_measured_at_the_offered_load_on_an_engine_from_its_file(
    problem: Problem, winner: TrialRecord
) -> None:
    runner = Files(winner.config)
    kept = relaunch(problem, runner, FILE, winner, launch_id=9)
    run = offered(problem, winner.config)
    assert runner.launched == [FILE]
    assert (kept.number, kept.origin, kept.launch_id) == (7, "confirm", 9)
    assert (kept.config, kept.failure, list(kept.loads)) == (winner.config, None, ["offered"])
    assert kept.loads["offered"]["p95_ttft_ms"] == run.metrics["p95_ttft_ms"]
    assert (kept.engine_s, kept.measured_s) == (60.0 + run.duration_s, run.duration_s)
    assert TrialRecord.from_json(kept.to_json()) == kept


def test_a_file_that_the_stock_engine_refuses_is_an_answer(
    problem: Problem, winner: TrialRecord
) -> None:
    runner = Files(winner.config, refusal=Failure(FailureKind.REFUSED, "no such flag"))
    kept = relaunch(problem, runner, FILE, winner, launch_id=9)
    assert kept.failure == {"kind": "refused", "detail": "no such flag"}
    assert (kept.loads, kept.engine_s, kept.measured_s) == ({}, 12.0, 0.0)


def test_an_engine_that_dies_from_its_file_is_an_answer(
    problem: Problem, winner: TrialRecord
) -> None:
    runner = Files(winner.config, answer=Failure(FailureKind.DIED, "said so"))
    kept = relaunch(problem, runner, FILE, winner, launch_id=9)
    assert kept.failure == {"kind": "died", "detail": "said so"}
    assert kept.engine_s == 60.0


def test_the_winners_of_one_objective_of_several_are_measured_on_its_own_traffic(
    make_loop: MakeLoop, winner: TrialRecord
) -> None:
    problem = make_loop(objective="all").problem
    names = [case.profile.name for case in problem.cases]
    for name in names:
        record = TrialRecord(number=1, objective=name, config=winner.config, origin="sampler")
        assert relaunch(problem, Files(winner.config), FILE, record, launch_id=0).objective == name


def best(trial: int, objective: str = "chat") -> dict[str, Any]:
    return {"trial": trial, "objective": objective}


def test_a_trial_that_won_twice_is_measured_once_and_none_again(winner: TrialRecord) -> None:
    won = {"interactive": best(5), "economy": best(5), "live-at-scale": None, "bulk": best(7)}
    assert wanted({"best": won}, [winner]) == {(5, "chat"): Quadrant.ECONOMY}
    assert wanted({"best": won}, []).keys() == {(5, "chat"), (7, "chat")}
