"""Tests of a run that may be looked at after every batch of it, and the watches made of them.

``MissCount`` is exact about the run itself. ``ShareTest`` is about what the run is a sample of: a
bet against the bound. Whoever bets against what is true multiplies the stake by 1 / alpha with a
chance of alpha at most, however long the game (Ville's inequality; Waudby-Smith & Ramdas,
"Estimating means of bounded random variables by betting", JRSS B 86, 2024).
"""

import math
from collections.abc import Sequence
from heapq import heappop, heappush
from statistics import fmean, stdev
from typing import Protocol

from objectives.growth import GROWTH, Trend, latency_trend
from objectives.measurement import RequestResult
from objectives.sla import Bound, promised_ms
from objectives.student_t import quantile
from objectives.workload import Workload

ALPHA = 0.05
LEAST_BATCH = 20
BATCHES = 20
"""Neighbouring requests share a queue: a run is judged by so many batches, not by requests."""
LAST_THIRD = 2 * BATCHES // 3 + 1
FROM_EMPTY = 2
"""Batches that find queues which are not yet as long as they will be at any load."""
FIRST_LOOK = 4
"""Batches before a mean is looked at: of fewer, how much they differ is hardly known."""
STAKES = (1 / 16, 1 / 8, 1 / 4, 1 / 2)
"""Shares of the largest bet that cannot lose all; the mean of several games is a game, too."""
TIME = 1e-6


class MissCount:
    """Counts the misses of each percentile bound in a run of ``offered`` requests.

    Args:
        spare: misses allowed besides: 1 where what is bounded is the percentile as a figure, which
            lies between two requests.
    """

    def __init__(self, bounds: Sequence[Bound], offered: int, *, spare: int = 0) -> None:
        self._limits = [
            (latency, bound.limit, offered - math.ceil(wanted * offered - 1e-9) + spare)
            for bound in bounds
            for wanted, latency in ([bound.share] if bound.share else [])
        ]
        self._misses = [0] * len(self._limits)

    def over(self, result: RequestResult, now_s: float) -> bool:
        """Count a finished request; whether a bound is broken whatever the rest brings."""
        broken = False
        for index, (latency, limit, allowed) in enumerate(self._limits):
            self._misses[index] += promised_ms(result, latency) > limit
            broken |= self._misses[index] > allowed
        return broken


class BatchTest(Protocol):
    """Takes a run batch by batch, in order of arrival."""

    def broken(self, batch: Sequence[RequestResult]) -> bool:
        """Take one more; whether by now it is clear that the promise is not kept."""
        ...


class ShareTest:
    """Whether fewer than the promised share of requests keep a percentile bound.

    Under the hypothesis that the share is kept, each factor 1 + bet x (promised - found) of a
    batch has mean 1 at most.
    """

    def __init__(self, bound: Bound, *, alpha: float = ALPHA) -> None:
        if bound.share is None:
            raise ValueError(f"A share of requests is tested, but {bound.name} bounds a number.")
        self._wanted, self._latency = bound.share
        self._limit_ms = bound.limit
        self._bets = [stake / (1 - self._wanted) for stake in STAKES]
        self._wealth = [1.0] * len(STAKES)
        self._enough = len(STAKES) / alpha

    def broken(self, batch: Sequence[RequestResult]) -> bool:
        kept = sum(promised_ms(r, self._latency) <= self._limit_ms for r in batch)
        gain = self._wanted - kept / len(batch)
        for game, bet in enumerate(self._bets):
            self._wealth[game] *= 1 + bet * gain
        return sum(self._wealth) >= self._enough


class MeanTest:
    """Whether a mean latency is above its bound.

    A one-sided t-test of the batches' means, from the ``FIRST_LOOK``-th batch on, alpha shared
    among the looks (Bonferroni).
    """

    def __init__(self, bound: Bound, *, alpha: float = ALPHA) -> None:
        if bound.mean is None:
            raise ValueError(f"A mean latency is tested, but {bound.name} bounds another number.")
        self._latency, self._limit_ms = bound.mean, bound.limit
        self._means: list[float] = []
        self._confidence = 1 - 2 * alpha / (BATCHES - FIRST_LOOK + 1)

    def broken(self, batch: Sequence[RequestResult]) -> bool:
        found = [r.latency_ms(self._latency) for r in batch if r.completed]
        known = [value for value in found if value is not None]
        if known:
            self._means.append(fmean(known))
        count = len(self._means)
        if count < FIRST_LOOK:
            return False
        margin = quantile(self._confidence, count - 1) * stdev(self._means) / math.sqrt(count)
        return fmean(self._means) - margin > self._limit_ms


class GrowthTest:
    """Whether answers get later and later: the engine serves less than is offered.

    Looked at in the last third of the run, alpha shared among the looks (Bonferroni). Either half
    of what was seen must grow, too: a burst makes one jump, which the engine works off.
    """

    def __init__(self, workload: Workload, *, alpha: float = ALPHA) -> None:
        self._workload = workload
        self._batches: list[Sequence[RequestResult]] = []
        self._alpha = alpha / (BATCHES - LAST_THIRD + 1)

    def broken(self, batch: Sequence[RequestResult]) -> bool:
        self._batches.append(batch)
        if len(self._batches) < LAST_THIRD:
            return False
        seen = self._batches[FROM_EMPTY:]
        middle = len(seen) // 2
        whole, *halves = map(self._trend, (seen, seen[:middle], seen[middle:]))
        return whole.low > 0 and min(trend.slope for trend in (whole, *halves)) > GROWTH

    def _trend(self, batches: Sequence[Sequence[RequestResult]]) -> Trend:
        return latency_trend(batches, self._workload, alpha=self._alpha)


def latency_tests(bounds: Sequence[Bound]) -> list[BatchTest]:
    """Of the bounds on latencies; no others can be told before the run is over."""
    shares = [ShareTest(bound) for bound in bounds if bound.share]
    return [*shares, *(MeanTest(bound) for bound in bounds if bound.mean)]


class Batches:
    """The requests of a run in batches by arrival: short answers would come first otherwise."""

    def __init__(self, workload: Workload) -> None:
        closed = workload.concurrency is not None
        self._due_s = [] if closed else [request.arrival_s for request in workload.requests]
        self._size = max(LEAST_BATCH, math.ceil(len(workload.requests) / BATCHES))
        self._early: list[tuple[float, int, RequestResult]] = []
        self._ordered: list[RequestResult] = []
        self._seen = self._released = 0

    def add(self, result: RequestResult) -> list[list[RequestResult]]:
        """Take a finished request; the batches that are whole by it."""
        self._seen += 1
        heappush(self._early, (result.arrival_s, self._seen, result))
        while self._early and self._is_next(self._early[0][0]):
            self._ordered.append(heappop(self._early)[2])
            self._released += 1
        whole = []
        while len(self._ordered) >= self._size:
            whole.append(self._ordered[: self._size])
            self._ordered = self._ordered[self._size :]
        return whole

    def _is_next(self, arrival_s: float) -> bool:
        return not self._due_s or arrival_s <= self._due_s[self._released] + TIME


class InBatches:
    """A watch that is over as soon as one of its tests says that the promise is not kept."""

    def __init__(self, workload: Workload, tests: Sequence[BatchTest]) -> None:
        self._batches, self._tests, self._broken = Batches(workload), tests, False

    def over(self, result: RequestResult, now_s: float) -> bool:
        for batch in self._batches.add(result):
            # All are told of the batch, whatever the first says.
            self._broken |= any([test.broken(batch) for test in self._tests])
        return self._broken
