"""The highest load at which the SLA holds: doubling or halving to a bracket, then bisection.

Plain bisection believes each probe: right for a noiseless engine only.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from objectives import Bound, Load, Measurement, Workload
from objectives.sla import holds, patience_s
from objectives.statistics import percentile
from runners import Engine

BISECTIONS = 6
"""Leaves a bracket of 2 ** (1 / 64): capacity within 1.1 %."""
DOUBLINGS = 10
GROWTH = 0.05
"""A queue that lengthens the wait by more than this share of the time is not kept up with."""


@dataclass(frozen=True, slots=True)
class Probe:
    """One run at one level: requests per second, or concurrency in a closed loop."""

    level: float
    holds: bool
    measurement: Measurement


@dataclass(slots=True)
class Capacity:
    """What the probes showed."""

    capacity: float
    """Requests per second of the whole deployment; 0 when the SLA holds at no rate tried."""
    at_capacity: Probe | None
    saturated: Measurement
    """Every request sent at once."""
    probes: list[Probe] = field(default_factory=list)


def offered_load(workload: Workload, bounds: tuple[Bound, ...]) -> Load:
    """The workload with the time after which its run ends."""
    longest = max(request.output_tokens for request in workload.requests)
    return Load(workload=workload, patience_s=patience_s(bounds, longest))


def find_capacity(engine: Engine, workload: Workload, bounds: tuple[Bound, ...]) -> Capacity:
    """Search from the workload's own level; every probe counts as engine time."""
    saturated = engine.measure(Load(workload=workload.at_rate(math.inf)))
    latency_bounds = tuple(bound for bound in bounds if bound.metric.endswith("_ms"))
    if not latency_bounds:
        throughput = float(saturated.metrics["request_throughput"] or 0.0)
        return Capacity(throughput, Probe(math.inf, True, saturated), saturated)

    def probe(level: float) -> Probe:
        load = offered_load(_at(workload, level), latency_bounds)
        measurement = engine.measure(load)
        kept = holds(latency_bounds, measurement) and keeps_up(load.workload, measurement)
        return Probe(level, kept, measurement)

    closed = workload.concurrency is not None
    start = float(workload.concurrency) if workload.concurrency else workload.request_rate
    if math.isinf(start):
        start = float(saturated.metrics["request_throughput"] or 1.0)
    probes = _bracket(probe, start, lowest=1.0 if closed else 0.0)
    best = _bisect(probe, probes, whole=closed)
    probes.sort(key=lambda p: p.level)
    return Capacity(_capacity(best, closed), best, saturated, probes)


def keeps_up(workload: Workload, measurement: Measurement) -> bool:
    """Whether waiting does not grow with the run: a bound alone may hold while a queue builds up.

    In an open loop offered rho > 1 times what is served, the wait grows by (rho - 1) x the time.
    """
    if workload.concurrency is not None:
        return True
    waits = [r.ttft_ms for r in measurement.results if r.ttft_ms is not None]
    tenth = max(1, len(waits) // 10)
    early = percentile(sorted(waits[:tenth]), 0.5)
    late = percentile(sorted(waits[-tenth:]), 0.5)
    return late - early <= GROWTH * 1000 * workload.span_s


def _at(workload: Workload, level: float) -> Workload:
    if workload.concurrency is not None:
        return workload.at_concurrency(round(level))
    return workload.at_rate(level)


def _bracket(probe: Callable[[float], Probe], start: float, lowest: float) -> list[Probe]:
    """Probes from ``start`` up until one breaks, or down until one holds."""
    probes = [probe(start)]
    factor = 2.0 if probes[0].holds else 0.5
    for _ in range(DOUBLINGS):
        level = probes[-1].level * factor
        if probes[-1].holds != probes[0].holds or level < lowest:
            break
        probes.append(probe(level))
    return probes


def _bisect(probe: Callable[[float], Probe], probes: list[Probe], *, whole: bool) -> Probe | None:
    best = max((p for p in probes if p.holds), key=lambda p: p.level, default=None)
    worst = min((p for p in probes if not p.holds), key=lambda p: p.level, default=None)
    for _ in range(BISECTIONS):
        if best is None or worst is None or (whole and worst.level - best.level <= 1):
            break
        middle = math.sqrt(best.level * worst.level)
        if whole:
            middle = min(max(round(middle), best.level + 1), worst.level - 1)
        tried = probe(middle)
        probes.append(tried)
        best, worst = (tried, worst) if tried.holds else (best, tried)
    return best


def _capacity(best: Probe | None, closed: bool) -> float:
    if best is None:
        return 0.0
    return float(best.measurement.metrics["request_throughput"] or 0.0) if closed else best.level
