"""One trial: launch a config, measure it under its loads, hold it against every promise."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from objectives import Load, LoadName, Measurement, Verdict, Workload, judge
from objectives.workload import Watch
from runners import RETRIED, Engine, EngineError, Failure, FailureKind, Runner
from search_spaces import Config
from tuner.capacity import Capacity, search
from tuner.probing import (
    NOISELESS,
    NOISY,
    Effort,
    Prober,
    latency_bounds,
    offered_load,
    saturating_load,
)
from tuner.problem import Case, Problem
from tuner.race import Race

WAIT = "batch_wait_timeout_ms"
NEAR = 2 ** (1 / 8)
"""Above the level of the best config few carry much more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One case as measured."""

    offered: Measurement
    capacity: Capacity | None
    stopped: str = ""
    """Why it was not measured whole."""


@dataclass(slots=True)
class Outcome:
    """What a launch came to: every case measured, or why not."""

    measured: dict[str, Measured] = field(default_factory=dict)
    """By objective."""
    unanswered: dict[str, Failure] = field(default_factory=dict)
    """Objectives of whose traffic nothing was answered; the others were measured all the same."""
    failure: Failure | None = None
    """Why nothing more could be measured."""
    engine_s: float = 0.0
    measured_s: float = 0.0
    """Of ``engine_s``, under load."""
    launch_s: float = 0.0
    """Of ``engine_s``, until it was ready."""
    fresh: bool = True
    """Whether an engine was launched for it; ``False``: a running one was retuned."""

    def requests(self) -> dict[str, dict[LoadName, Measurement]]:
        """The runs whose requests are kept: the offered load, and the last that held."""
        kept: dict[str, dict[LoadName, Measurement]] = {}
        for objective, measured in self.measured.items():
            kept[objective] = {"offered": measured.offered}
            if measured.capacity and measured.capacity.at_capacity:
                kept[objective]["capacity"] = measured.capacity.at_capacity.measurement
        return kept


def unopposed(case: Case) -> Race:
    """Nothing stops a trial before its time."""
    return Race()


def try_out(
    problem: Problem,
    runner: Runner,
    config: Config,
    race: Callable[[Case], Race] = unopposed,
) -> Outcome:
    """Launch once and measure every case; a failure that may pass is tried once more.

    Args:
        race: what a case's config is up against; by default nothing stops it.
    """
    outcome = _launch(problem, runner, config, race)
    if outcome.failure and outcome.failure.kind in RETRIED:
        again = _launch(problem, runner, config, race)
        again.engine_s += outcome.engine_s
        again.measured_s += outcome.measured_s
        again.launch_s += outcome.launch_s
        again.fresh |= outcome.fresh
        return again
    return outcome


def _launch(
    problem: Problem, runner: Runner, config: Config, race: Callable[[Case], Race]
) -> Outcome:
    outcome = Outcome()
    engine: Engine | None = None
    try:
        with runner.launch(config) as launched:
            engine = Timed(launched, outcome)
            outcome.launch_s = launched.age_s if launched.fresh else 0.0
            for case in problem.cases:
                name = case.profile.name
                try:
                    measured = _measure(engine, case, problem, config, race(case))
                    outcome.measured[name] = measured
                except EngineError as error:
                    if error.failure.kind is not FailureKind.NOTHING_COMPLETED:
                        raise
                    outcome.unanswered[name] = error.failure
    except EngineError as error:
        outcome.failure = error.failure
        outcome.engine_s = error.engine_s
    if engine:
        outcome.engine_s, outcome.fresh = engine.age_s, engine.fresh
    return outcome


@dataclass(slots=True)
class Timed:
    """An engine that counts the time under load."""

    engine: Engine
    outcome: Outcome

    @property
    def age_s(self) -> float:
        return self.engine.age_s

    @property
    def fresh(self) -> bool:
        return self.engine.fresh

    def measure(self, load: Load) -> Measurement:
        found = self.engine.measure(load)
        self.outcome.measured_s += found.duration_s
        return found


def measure_offered(engine: Engine, case: Case, race: Race) -> Measurement:
    """
    Raises:
        EngineError: nothing of it was answered.
    """
    load = offered_load(case.workload, case.profile.sla)
    offered = engine.measure(replace(load, watch=_watch(race.watch_offered, case.workload)))
    if not offered.completed:
        raise EngineError(
            FailureKind.NOTHING_COMPLETED,
            "no request was answered within three times the SLA's latency",
        )
    if race.lost:
        return finished(offered)
    race.offered(offered)
    return offered


def _watch(
    made: Callable[[Workload], Watch | None], workload: Workload
) -> Callable[[], Watch] | None:
    watch = made(workload)
    return None if watch is None else lambda: watch


def _measure(engine: Engine, case: Case, problem: Problem, config: Config, race: Race) -> Measured:
    offered = measure_offered(engine, case, race)
    found = None
    if problem.capacity and not race.lost:
        found = _capacity_of(engine, case, problem, config, offered, race)
    if race.lost:
        return Measured(offered=offered, capacity=found, stopped=race.why)
    saturated = found.saturated if found else offered
    documents = case.documents
    return Measured(
        offered=replace(offered, documents=documents),
        capacity=replace(found, saturated=replace(saturated, documents=documents))
        if found
        else None,
    )


def _capacity_of(
    engine: Engine, case: Case, problem: Problem, config: Config, offered: Measurement, race: Race
) -> Capacity:
    """First at the least level that would win, then all at once, then as finely as is wanted."""
    effort = effort_of(problem)
    prober = Prober(
        engine=engine,
        draws=case.draws,
        bounds=latency_bounds(case.profile.sla),
        effort=effort,
        offered=offered if effort.noisy else None,
    )
    _probe_level(prober, case, problem, config, offered, race)
    many = saturating_load(case.draws[-1], effort)
    watch = _watch(partial(race.watch_saturated, gpus=problem.gpus), many.workload)
    saturated = engine.measure(replace(many, watch=watch))
    race.saturated(saturated)
    if race.lost:
        return Capacity(0.0, None, saturated, prober.probes)
    return search(prober, saturated, monotone=not config.get(WAIT))


def _probe_level(
    prober: Prober,
    case: Case,
    problem: Problem,
    config: Config,
    offered: Measurement,
    race: Race,
) -> None:
    rate = case.workload.request_rate
    if case.workload.concurrency or math.isinf(rate) or not prober.bounds:
        return
    level = race.level(config, rate, problem.gpus)
    if level is None:
        return
    broken = any(judge(bound, offered).verdict is Verdict.BROKEN for bound in case.profile.sla)
    if math.isinf(level) or (broken and level >= rate):
        race.below()
        return
    prober.first_stride = NEAR
    if not prober.probe(level).holds:
        race.below()


def finished(measurement: Measurement) -> Measurement:
    """Of a run that was ended: what had finished by then."""
    return replace(measurement, results=measurement.completed)


def effort_of(problem: Problem) -> Effort:
    return NOISELESS if problem.noiseless else NOISY
