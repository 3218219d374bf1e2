"""Winners once more on the stock engine, started from the exported file as in production."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from objectives import Quadrant
from results.record import TrialRecord
from runners import Engine, EngineError
from tuner.problem import Problem
from tuner.trial import Measured, Outcome, Timed, measure_offered, records


class FileRunner(Protocol):
    """A runner that launches from a file, too."""

    def launch_file(self, path: Path) -> AbstractContextManager[Engine]: ...


def wanted(
    found: Mapping[str, Any], known: Sequence[TrialRecord]
) -> dict[tuple[int, str], Quadrant]:
    """By (trial, objective): a quadrant whose file holds the winner; those not relaunched yet."""
    done = {(record.number, record.objective) for record in known}
    return {
        key: Quadrant(quadrant)
        for quadrant, best in found["best"].items()
        if best is not None and (key := (best["trial"], best["objective"])) not in done
    }


def relaunch(
    problem: Problem,
    runner: FileRunner,
    path: Path,
    record: TrialRecord,
    *,
    launch_id: int,
) -> TrialRecord:
    """One winner's record of its own traffic at the offered load; a failure is an answer."""
    case = problem.case(record.objective)
    outcome = Outcome()
    engine: Engine | None = None
    try:
        with runner.launch_file(path) as engine:
            offered = measure_offered(Timed(engine, outcome), case)
            outcome.measured[record.objective] = Measured(offered=offered, capacity=None)
    except EngineError as error:
        outcome.failure, outcome.engine_s = error.failure, error.engine_s
    if engine is not None:
        outcome.engine_s = engine.age_s
    kept = records(
        replace(problem, cases=(case,)),
        outcome,
        record.config,
        number=record.number,
        origin="confirm",
        launch_id=launch_id,
    )
    return kept[0]
