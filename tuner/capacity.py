"""The highest load at which the SLA holds: doubling or halving to a bracket, then bisection.

Plain bisection believes each probe: right for a noiseless engine only.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from objectives import Bound, Load, Measurement, RequestResult, Workload
from objectives.sla import MissCount, holds, latency_s, patience_s
from objectives.statistics import percentile
from runners import Engine

DOUBLINGS = 10
HALVINGS = 4
"""A config that breaks the SLA at a sixteenth of the offered load has no capacity."""
GROWTH = 0.05
"""Latency that grows by more than this share of the time means falling behind."""
ANSWERS_IN_A_ROW = 3
"""A probe lasts at least so many times what the SLA gives a mean answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How finely capacity is searched."""

    bisections: int
    saturating: int
    """Times the study's requests are sent at once, so that the last few do not weigh much."""
    plateau: float = 0.0
    """In a closed loop, twice the requests in flight must serve more by this share, or it ends."""


NOISELESS = Effort(bisections=7, saturating=3)
"""Leaves a bracket of 2 ** (1 / 128): capacity within 0.6 %, less than a tie."""
NOISY = Effort(bisections=3, saturating=1, plateau=0.05)
"""Leaves a bracket of 2 ** (1 / 8): capacity within 9 %, about what one run can tell."""


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
    """The run with the highest output throughput: all at once, or a probe that held."""
    probes: list[Probe] = field(default_factory=list)


def offered_load(workload: Workload, bounds: tuple[Bound, ...]) -> Load:
    """The workload with the time after which its run ends."""
    longest = max(request.output_tokens for request in workload.requests)
    return Load(workload=workload, patience_s=patience_s(bounds, longest))


def find_capacity(
    engine: Engine,
    workload: Workload,
    bounds: tuple[Bound, ...],
    *,
    effort: Effort = NOISELESS,
    offered: Measurement | None = None,
    from_saturation: bool = False,
) -> Capacity:
    """Search from the workload's own level; every probe counts as engine time.

    Args:
        offered: the workload as measured already, which stands for the first probe.
        from_saturation: begin at half of what is served when all is sent at once, for a workload
            whose own rate says nothing of this engine.
    """
    many = workload.lasting(0.0, requests=effort.saturating * len(workload.requests))
    saturated = engine.measure(Load(workload=many.at_rate(math.inf)))
    latency_bounds = tuple(bound for bound in bounds if bound.metric.endswith("_ms"))
    if not latency_bounds:
        throughput = float(saturated.metrics["request_throughput"] or 0.0)
        return Capacity(throughput, Probe(math.inf, True, saturated), saturated)

    def probe(level: float) -> Probe:
        lasting = _lasting(_at(workload, level), latency_bounds)
        if offered and level == start and len(lasting.requests) == len(offered.results):
            return held(level, lasting, offered)
        load = replace(
            offered_load(lasting, latency_bounds),
            watch=lambda: MissCount(latency_bounds, len(lasting.requests)),
        )
        return held(level, lasting, engine.measure(load))

    def held(level: float, lasting: Workload, measurement: Measurement) -> Probe:
        kept = holds(latency_bounds, measurement) and keeps_up(lasting, measurement)
        return Probe(level, kept, measurement)

    closed = workload.concurrency is not None
    start = float(workload.concurrency) if workload.concurrency else workload.request_rate
    served = float(saturated.metrics["request_throughput"] or 1.0)
    if math.isinf(start):
        start = served
    elif from_saturation and not closed:
        start = served / 2
    plateau = effort.plateau if closed else 0.0
    probes = _bracket(probe, start, lowest=1.0 if closed else 0.0, plateau=plateau)
    best = _bisect(probe, probes, bisections=effort.bisections, whole=closed)
    probes.sort(key=lambda p: p.level)
    runs = [saturated, *(p.measurement for p in probes if p.holds)]
    fullest = max(runs, key=lambda run: run.metrics["output_throughput"] or 0.0)
    return Capacity(_capacity(best, closed), best, fullest, probes)


def _lasting(workload: Workload, bounds: tuple[Bound, ...]) -> Workload:
    """Long enough for the load to build up: a short burst is served from empty queues."""
    if workload.concurrency is not None:
        return workload.lasting(0.0, requests=ANSWERS_IN_A_ROW * workload.concurrency)
    mean_s = latency_s(bounds, workload.mean_output_tokens)
    return workload.lasting(ANSWERS_IN_A_ROW * mean_s) if math.isfinite(mean_s) else workload


def keeps_up(workload: Workload, measurement: Measurement) -> bool:
    """Whether answers do not get later and later: a bound may hold while a queue builds up.

    In an open loop offered rho > 1 times what is served, latency grows by (rho - 1) x the time.
    """
    if workload.concurrency is not None:
        return True
    results = measurement.results
    third = len(results) // 3
    middle, last = results[third : 2 * third], results[2 * third :]
    if not third:
        return True
    growth_s = (_typical_ms(last, workload) - _typical_ms(middle, workload)) / 1000
    return growth_s <= GROWTH * workload.span_s / 3


def _typical_ms(results: Sequence[RequestResult], workload: Workload) -> float:
    """Latency of a mean answer: by medians, since lengths differ much more than waits."""
    ttft = sorted(r.ttft_ms for r in results if r.ttft_ms is not None)
    tpot = sorted(r.tpot_ms for r in results if r.tpot_ms is not None)
    if not ttft:
        return math.inf
    per_token = percentile(tpot, 0.5) if tpot else 0.0
    return percentile(ttft, 0.5) + per_token * workload.mean_output_tokens


def _at(workload: Workload, level: float) -> Workload:
    if workload.concurrency is not None:
        return workload.at_concurrency(round(level))
    return workload.at_rate(level)


def _bracket(
    probe: Callable[[float], Probe], start: float, lowest: float, plateau: float
) -> list[Probe]:
    """Probes from ``start`` up until one breaks or serves no more, or down until one holds."""
    probes = [probe(start)]
    factor = 2.0 if probes[0].holds else 0.5
    for _ in range(DOUBLINGS if probes[0].holds else HALVINGS):
        level = probes[-1].level * factor
        if probes[-1].holds != probes[0].holds or level < lowest or _flat(probes, plateau):
            break
        probes.append(probe(level))
    return probes


def _flat(probes: Sequence[Probe], plateau: float) -> bool:
    """Whether the last doubling brought next to nothing."""
    if not plateau or len(probes) < 2 or not probes[-1].holds:
        return False
    before, now = (float(p.measurement.metrics["request_throughput"] or 0) for p in probes[-2:])
    return now < before * (1 + plateau)


def _bisect(
    probe: Callable[[float], Probe], probes: list[Probe], *, bisections: int, whole: bool
) -> Probe | None:
    best = max((p for p in probes if p.holds), key=lambda p: p.level, default=None)
    worst = min((p for p in probes if not p.holds), key=lambda p: p.level, default=None)
    for _ in range(bisections):
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
