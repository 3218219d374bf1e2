"""The run that is going on: its load, how much of it is done, what was seen so far."""

import math
from collections.abc import Callable

from objectives import Load, RequestResult
from objectives.statistics import percentile
from results.text.figures import duration, label, quantity

SHARE = 0.95
SHOWN_AFTER_S = 1.0
"""A simulated run is over sooner."""
FIGURED_EVERY_S = 1.0
"""Percentiles need a sort, and a frame is drawn several times a second."""
LATENCIES = ("p95_ttft_ms", "p95_tpot_ms")


def load_words(load: Load) -> str:
    """``offered at 7.5 req/s``, ``capacity probe with 64 in flight``, ``all at once``."""
    workload = load.workload
    if workload.concurrency is not None:
        how = f"with {workload.concurrency} in flight"
    elif math.isinf(workload.request_rate):
        how = "all at once"
    else:
        how = f"at {quantity('capacity', workload.request_rate)}"
    return f"{load.purpose} {how}".lstrip()


class Running:
    """What is known of a run before it is over; ``hear`` is quick, ``words`` does the work."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._load: Load | None = None
        self.launches()

    def launches(self) -> None:
        """An engine is being launched: no load yet."""
        self._begin(None)

    def begins(self, load: Load) -> None:
        self._begin(load)

    def hear(self, result: RequestResult) -> None:
        """One of its requests has finished or failed."""
        if not result.completed:
            self._failed += 1
            return
        self._done += 1
        for known, latency_ms in zip(
            self._latencies_ms, (result.ttft_ms, result.tpot_ms), strict=True
        ):
            if latency_ms is not None:
                known.append(latency_ms)

    def words(self, *, named: bool) -> str:
        """``offered at 7.5 req/s, 12 s: 87 of 600 requests done, p95 TTFT 213 ms so far``.

        Args:
            named: with the name of the workload.
        """
        since_s = self._clock() - self._since_s
        since = f", {duration(since_s)}" if since_s >= SHOWN_AFTER_S else ""
        load = self._load
        if load is None:
            return f"launching{since}"
        name = f"{load.workload.name}, " if named else ""
        of = len(load.workload.requests)
        told = self._told(of) if self._done or self._failed else f"{of} requests"
        return f"{name}{load_words(load)}{since}: {told}"

    def _begin(self, load: Load | None) -> None:
        self._load = load
        self._since_s = self._clock()
        self._done = self._failed = 0
        self._latencies_ms: tuple[list[float], list[float]] = ([], [])
        self._figured_s = -math.inf
        self._figures = ""

    def _told(self, of: int) -> str:
        if self._clock() - self._figured_s >= FIGURED_EVERY_S:
            self._figured_s = self._clock()
            self._figures = _figures(self._latencies_ms)
        failed = f", {self._failed} failed" if self._failed else ""
        return f"{self._done} of {of} requests done{failed}{self._figures}"


def _figures(latencies_ms: tuple[list[float], list[float]]) -> str:
    figures = [
        f"{label(metric)} {quantity(metric, percentile(sorted(known), SHARE))}"
        for metric, known in zip(LATENCIES, latencies_ms, strict=True)
        if known
    ]
    return f", so far {', '.join(figures)}" if figures else ""
