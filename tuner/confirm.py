"""Finalists measured anew: from their files, in turns with the default, on fresh traffic."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from math import exp, log
from pathlib import Path

from objectives import Goal
from objectives.quadrant import SATURATED
from results.confirmation import Finalist
from results.record import TrialRecord
from runners import Engine, EngineError
from search_spaces import Config
from tuner.capacity import Capacity, search
from tuner.probing import Prober, latency_bounds, saturating_load
from tuner.problem import Case, Problem
from tuner.race import Race
from tuner.records import records
from tuner.trial import Measured, Outcome, Timed, effort_of, measure_offered

GRID = 2 ** (1 / 8)
"""Capacity is known by now: the probes begin near it and go this far at first."""
LaunchFile = Callable[[Path, Config], AbstractContextManager[Engine]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One of those measured in turns."""

    name: str
    number: int
    """The trial that stands for its config."""
    config: Config
    path: Path
    goals: Mapping[str, frozenset[Goal]]
    """What is compared, by the objective whose traffic shows it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """An arm's measurement in one pair."""

    arm: Arm
    pair: int

    def done(self, runs: Sequence[TrialRecord]) -> bool:
        return any((run.arm, run.pair) == (self.arm.name, self.pair) for run in runs)


def turns(arms: Sequence[Arm], pairs: int) -> Iterator[Turn]:
    """Every arm once in each pair; who begins changes, so that a drift of the machine cancels."""
    for pair in range(pairs):
        ordered = arms if pair % 2 == 0 else arms[::-1]
        yield from (Turn(arm=arm, pair=pair) for arm in ordered)


def goals_of(finalists: Sequence[Finalist]) -> dict[str, frozenset[Goal]]:
    """By objective; those of the default are of all finalists."""
    found: dict[str, frozenset[Goal]] = {}
    for finalist in finalists:
        found[finalist.objective] = found.get(finalist.objective, frozenset()) | {finalist.goal}
    return found


def take(
    turn: Turn,
    problem: Problem,
    launch: LaunchFile,
    known: Mapping[str, Sequence[float]],
    *,
    launch_id: int,
) -> list[TrialRecord]:
    """One launch from a file: the record of each objective that is compared.

    Args:
        known: capacities that the search found of the arms compared, by objective.
    """
    arm = turn.arm
    cases = tuple(case for case in problem.cases if case.profile.name in arm.goals)
    fresh = replace(problem, cases=tuple(_fresh(case, turn.pair) for case in cases))
    outcome = Outcome()
    engine: Engine | None = None
    try:
        with launch(arm.path, arm.config) as engine:
            outcome.launch_s = engine.age_s
            for case in fresh.cases:
                name, timed = case.profile.name, Timed(engine, outcome)
                with outcome.answering(name):
                    goals = arm.goals[name]
                    measured = _measured(timed, case, fresh, goals, known[name], turn.pair)
                    outcome.measured[name] = measured
    except EngineError as error:
        outcome.failure, outcome.engine_s = error.failure, error.engine_s
    if engine is not None:
        outcome.engine_s = engine.age_s
    kept = records(
        fresh, outcome, arm.config, number=arm.number, origin="confirm", launch_id=launch_id
    )
    return [replace(record, arm=arm.name, pair=turn.pair) for record in kept]


def _fresh(case: Case, pair: int) -> Case:
    return replace(case, workload=case.fresh[pair], redrawn=())


def _measured(
    engine: Engine,
    case: Case,
    problem: Problem,
    goals: frozenset[Goal],
    known: Sequence[float],
    pair: int,
) -> Measured:
    """The offered load always, the rest where it is compared."""
    offered = measure_offered(engine, case, Race())
    if all(goal.load == "offered" for goal in goals):
        return Measured(offered=offered, capacity=None)
    saturated = engine.measure(saturating_load(case.workload, effort_of(problem)))
    if goals <= {SATURATED}:
        return Measured(offered=offered, capacity=Capacity(0.0, None, saturated))
    prober = Prober(
        engine=engine,
        draws=case.draws,
        bounds=latency_bounds(case.profile.sla),
        effort=effort_of(problem),
        first_stride=GRID,
    )
    if known and not prober.closed and prober.bounds:
        prober.probe(_begin(known, pair))
    return Measured(offered=offered, capacity=search(prober, saturated))


def _begin(known: Sequence[float], pair: int) -> float:
    """The same level for all arms of a pair, another in each pair.

    So neither an arm nor all pairs alike gain by where the grid of levels happens to lie.
    """
    middle = exp(sum(map(log, known)) / len(known))
    golden = pair * 0.6180339887498949 % 1.0
    return middle * float(GRID ** (golden - 1))
