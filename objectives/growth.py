"""Whether latency grows with time: a bound may hold while a queue builds up.

In an open loop offered rho > 1 times what is served, latency grows by (rho - 1) x the time.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from objectives.measurement import Measurement, RequestResult
from objectives.sla import Verdict
from objectives.statistics import percentile
from objectives.student_t import quantile
from objectives.workload import Workload

GROWTH = 0.05
"""Seconds of latency per second of the run; more is falling behind."""
BATCHES = 6
"""Of each of the two thirds of a run that are compared."""


@dataclass(frozen=True, slots=True)
class Trend:
    """Seconds of latency per second of arrivals, and what it is above for sure."""

    slope: float
    low: float


def latency_trend(
    batches: Sequence[Sequence[RequestResult]], workload: Workload, *, alpha: float
) -> Trend:
    """Least squares through the typical latency of each batch; one-sided bound at ``alpha``."""
    points = [(_middle_s(batch), typical_s(batch, workload)) for batch in batches]
    if any(math.isinf(y) for _, y in points):
        return Trend(math.inf, math.inf)
    count = len(points)
    x0, y0 = (sum(column) / count for column in zip(*points, strict=True))
    spread = sum((x - x0) ** 2 for x, _ in points)
    if count < 3 or spread <= 0:
        return Trend(0.0, -math.inf)
    slope = sum((x - x0) * (y - y0) for x, y in points) / spread
    rest = sum((y - y0 - slope * (x - x0)) ** 2 for x, y in points)
    error = math.sqrt(rest / (count - 2) / spread)
    return Trend(slope, slope - quantile(1 - 2 * alpha, count - 2) * error)


def growth(workload: Workload, measurement: Measurement) -> float:
    """From the middle to the last third of a run, of medians: lengths differ more than waits."""
    results = measurement.results
    third = len(results) // 3
    if not third or workload.concurrency is not None or workload.span_s <= 0:
        return 0.0
    middle, last = results[third : 2 * third], results[2 * third :]
    now_s = typical_s(last, workload)
    if math.isinf(now_s):
        return math.inf
    return (now_s - typical_s(middle, workload)) / (workload.span_s / 3)


def keeping_up(workload: Workload, measurement: Measurement) -> Verdict:
    """Whether the engine keeps up: broken where latency grows, and not by chance."""
    if growth(workload, measurement) <= GROWTH:
        return Verdict.MET
    results = measurement.results[len(measurement.results) // 3 :]
    size = max(1, len(results) // (2 * BATCHES))
    batches = [results[at : at + size] for at in range(0, len(results) - size + 1, size)]
    trend = latency_trend(batches, workload, alpha=0.05)
    return Verdict.BROKEN if trend.low > 0 else Verdict.UNDECIDED


def typical_s(results: Sequence[RequestResult], workload: Workload) -> float:
    """Latency of an answer of mean length; infinite when none was given."""
    ttft = sorted(r.ttft_ms for r in results if r.ttft_ms is not None)
    tpot = sorted(r.tpot_ms for r in results if r.tpot_ms is not None)
    if not ttft:
        return math.inf
    per_token = percentile(tpot, 0.5) if tpot else 0.0
    return (percentile(ttft, 0.5) + per_token * workload.mean_output_tokens) / 1000


def _middle_s(results: Sequence[RequestResult]) -> float:
    return sum(r.arrival_s for r in results) / len(results)
