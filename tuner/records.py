"""The records of a trial: what was measured of it, held against every promise."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from objectives import LoadName, Measurement
from objectives.intervals import latency_interval, throughput_interval
from objectives.quadrant import CAPACITY, SATURATED
from objectives.sla import request_goodput
from results.record import Origin, TrialRecord, judge_all
from search_spaces import Config
from tuner.capacity import Capacity
from tuner.presets import promises
from tuner.probing import Probe
from tuner.problem import Case, Problem
from tuner.trial import Measured, Outcome

AT_ONCE = (
    "output_throughput",
    "output_throughput_per_gpu",
    "request_throughput",
    "total_token_throughput",
    "mean_running",
    "makespan_s",
)
"""Kept of the run in which everything arrives at once."""
CHOSEN_BY = ("p95_ttft_ms", "p95_tpot_ms", "p95_e2el_ms")
OF_A_PROBE = (
    "completed",
    "request_throughput",
    "output_throughput",
    "p95_ttft_ms",
    "p95_tpot_ms",
    "p95_e2el_ms",
    "mean_running",
)


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
            launch_s=outcome.launch_s,
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
    # A deadline is a promise about the whole batch, judged where the engine is saturated.
    judged = measured.offered
    loads: dict[LoadName, Mapping[str, Any]] = {"offered": _offered(problem, case, judged)}
    if measured.capacity is not None:
        loads["capacity"] = _capacity(problem, case, record.config, measured)
    return replace(
        record,
        loads=loads,
        sla=judge_all(case.profile.sla, judged),
        quadrants={q: judge_all(sla, judged) for q, sla in promises(case.profile).items()},
        stopped_early=bool(measured.stopped),
        why_stopped=measured.stopped,
    )


def _offered(problem: Problem, case: Case, measurement: Measurement) -> dict[str, Any]:
    workload = case.workload
    rate = workload.request_rate
    level = (
        {"concurrency": workload.concurrency}
        if workload.concurrency
        else {"request_rate": None if math.isinf(rate) else rate}
    )
    goodput = request_goodput(case.profile.sla, measurement)
    known = {} if problem.noiseless else _intervals(measurement)
    return {**level, **measurement.metrics, "request_goodput": goodput, **known}


def _intervals(measurement: Measurement) -> dict[str, Any]:
    """Of what winners are chosen by at the offered load."""
    found = {name: latency_interval(measurement, name) for name in CHOSEN_BY}
    return {"intervals": {name: list(ends) for name, ends in found.items() if ends}}


def _capacity(problem: Problem, case: Case, config: Config, measured: Measured) -> dict[str, Any]:
    found = measured.capacity
    assert found is not None
    at_once = found.saturated.metrics
    return {
        **({} if measured.stopped or found.unsearched else _found(problem, case, config, found)),
        **{name: at_once[name] for name in AT_ONCE if name in at_once},
        **({} if problem.noiseless else _capacity_intervals(problem, found)),
        "probes": [_probe(probe) for probe in found.probes],
    }


def _capacity_intervals(problem: Problem, found: Capacity) -> dict[str, Any]:
    ends = {SATURATED.metric: throughput_interval(found.saturated, per_gpu=True)}
    if found.interval:
        low, high = found.interval
        ends |= {
            "capacity": (low, high),
            CAPACITY.metric: (low / problem.gpus, high / problem.gpus),
        }
    return {"intervals": {name: list(pair) for name, pair in ends.items() if pair}}


def _found(problem: Problem, case: Case, config: Config, found: Capacity) -> dict[str, Any]:
    return {
        "capacity": found.capacity,
        "capacity_per_gpu": found.capacity / problem.gpus,
        "broken_below": found.broken_below,
        **_sizing(problem, case, config, found.capacity),
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


def _probe(probe: Probe) -> dict[str, Any]:
    metrics = probe.measurement.metrics
    return {
        "level": probe.level if math.isfinite(probe.level) else None,
        "holds": probe.holds,
        "verdict": str(probe.verdict),
        "requests": len(probe.measurement.results),
        "duration_s": probe.measurement.duration_s,
        **{name: metrics.get(name) for name in OF_A_PROBE},
    }
