"""One trial: launch a config, measure it under its loads, hold it against every promise."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from objectives import Load, LoadName, Measurement
from objectives.sla import request_goodput
from results.record import Origin, TrialRecord, judge_all
from runners import RETRIED, Engine, EngineError, Failure, FailureKind, Runner
from search_spaces import Config
from tuner.capacity import NOISELESS, NOISY, Capacity, find_capacity, offered_load
from tuner.presets import quadrant_profiles
from tuner.problem import Case, Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One case as measured."""

    offered: Measurement
    capacity: Capacity | None


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


def try_out(problem: Problem, runner: Runner, config: Config) -> Outcome:
    """Launch once and measure every case; a failure that may pass is tried once more."""
    outcome = _launch(problem, runner, config)
    if outcome.failure and outcome.failure.kind in RETRIED:
        again = _launch(problem, runner, config)
        again.engine_s += outcome.engine_s
        again.measured_s += outcome.measured_s
        again.fresh |= outcome.fresh
        return again
    return outcome


def _launch(problem: Problem, runner: Runner, config: Config) -> Outcome:
    outcome = Outcome()
    engine: Engine | None = None
    try:
        with runner.launch(config) as launched:
            engine = Timed(launched, outcome)
            for case in problem.cases:
                name = case.profile.name
                try:
                    measured = _measure(engine, case, problem)
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


def measure_offered(engine: Engine, case: Case) -> Measurement:
    """
    Raises:
        EngineError: nothing of it was answered.
    """
    offered = engine.measure(offered_load(case.workload, case.profile.sla))
    if not offered.completed:
        raise EngineError(
            FailureKind.NOTHING_COMPLETED,
            "no request was answered within three times the SLA's latency",
        )
    return offered


def _measure(engine: Engine, case: Case, problem: Problem) -> Measured:
    offered = measure_offered(engine, case)
    found = None
    if problem.capacity:
        found = _capacity_of(engine, case, None if problem.noiseless else offered)
    saturated = found.saturated if found else offered
    documents = case.documents
    return Measured(
        offered=replace(offered, documents=documents),
        capacity=replace(found, saturated=replace(saturated, documents=documents))
        if found
        else None,
    )


def _capacity_of(engine: Engine, case: Case, offered: Measurement | None) -> Capacity:
    """Searched finely where the same load gives the same figures, else with few probes."""
    effort = NOISY if offered else NOISELESS
    return find_capacity(engine, case.workload, case.profile.sla, offered=offered, effort=effort)


def records(
    problem: Problem,
    outcome: Outcome,
    config: Config,
    *,
    number: int,
    origin: Origin,
    launch_id: int,
) -> list[TrialRecord]:
    """One record per case of a launch; cases measured before a failure stay measured."""
    kept = []
    for case in problem.cases:
        name = case.profile.name
        measured = outcome.measured.get(name)
        failure = outcome.unanswered.get(name, outcome.failure)
        record = TrialRecord(
            number=number,
            objective=name,
            config=dict(config),
            origin=origin,
            engine_s=outcome.engine_s,
            measured_s=outcome.measured_s,
            launch_id=launch_id,
        )
        if measured is not None:
            kept.append(_measured(problem, case, measured, record))
        elif failure is not None:
            said = {"kind": str(failure.kind), "detail": failure.detail}
            kept.append(replace(record, failure=said))
    return kept


def ruled_out(problem: Problem, config: Config, *, number: int) -> list[TrialRecord]:
    """Records of a config that breaks a rule: nothing was launched for it."""
    rule = problem.space.broken_rules(config)[0]
    failure = {"kind": "rule", "detail": f"`{rule.reads}` must hold: {rule.reason}"}
    return [
        TrialRecord(
            number=number,
            objective=case.profile.name,
            config=dict(config),
            origin="sampler",
            failure=failure,
        )
        for case in problem.cases
    ]


def _measured(
    problem: Problem, case: Case, measured: Measured, record: TrialRecord
) -> TrialRecord:
    own = case.profile
    # A deadline is a promise about the whole batch, judged where the engine is saturated.
    judged = measured.offered
    loads: dict[LoadName, Mapping[str, Any]] = {"offered": _offered(case, measured.offered)}
    if measured.capacity is not None:
        loads["capacity"] = _capacity(problem, case, record.config, measured.capacity)
    quadrants = {
        quadrant: judge_all(own.sla if quadrant is own.quadrant else profile.sla, judged)
        for quadrant, profile in quadrant_profiles().items()
    }
    return replace(record, loads=loads, sla=judge_all(own.sla, judged), quadrants=dict(quadrants))


def _offered(case: Case, measurement: Measurement) -> dict[str, Any]:
    workload = case.workload
    rate = workload.request_rate
    level = (
        {"concurrency": workload.concurrency}
        if workload.concurrency
        else {"request_rate": None if math.isinf(rate) else rate}
    )
    goodput = request_goodput(case.profile.sla, measurement)
    return {**level, **measurement.metrics, "request_goodput": goodput}


def _capacity(problem: Problem, case: Case, config: Config, found: Capacity) -> dict[str, Any]:
    gpus = problem.gpus
    saturated = found.saturated.metrics
    return {
        "capacity": found.capacity,
        "capacity_per_gpu": found.capacity / gpus,
        **_sizing(problem, case, config, found.capacity),
        # What the engine does when everything arrives at once.
        **{
            name: saturated[name]
            for name in (
                "output_throughput",
                "output_throughput_per_gpu",
                "request_throughput",
                "total_token_throughput",
                "mean_running",
                "makespan_s",
            )
            if name in saturated
        },
        "probes": [_probe(probe.level, probe.holds, probe.measurement) for probe in found.probes],
    }


def _sizing(
    problem: Problem, case: Case, config: Config, capacity: float
) -> dict[str, float | None]:
    """How many GPUs the offered load needs, what is left over, and what a token costs."""
    gpus = problem.gpus
    # A server that someone else started is one replica: how it is made up is not known.
    replicas = int(config.get("data_parallel_size", 1))
    rate = case.workload.request_rate
    if case.workload.concurrency is not None or math.isinf(rate) or not capacity:
        needed, headroom = None, None
    else:
        needed = gpus // replicas * math.ceil(rate / (capacity / replicas) - 1e-9)
        headroom = 1 - rate / capacity
    cost = None
    if problem.hourly_cost_usd is not None and capacity:
        tokens_per_hour = 3600 * capacity * case.workload.mean_output_tokens
        cost = problem.hourly_cost_usd * gpus / tokens_per_hour * 1e6
    return {
        "gpus_needed": needed,
        "headroom": headroom,
        "cost_per_million_output_tokens_usd": cost,
    }


def _probe(level: float, kept: bool, measurement: Measurement) -> dict[str, Any]:
    metrics = measurement.metrics
    names = (
        "completed",
        "request_throughput",
        "output_throughput",
        "p95_ttft_ms",
        "p95_tpot_ms",
        "p95_e2el_ms",
        "mean_running",
    )
    return {
        "level": level if math.isfinite(level) else None,
        "holds": kept,
        **{name: metrics.get(name) for name in names},
    }
