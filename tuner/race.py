"""When a trial may stop: once every quadrant is closed to it, it is of no more use.

A quadrant is closed when its promise is surely broken at the offered load, or when its best config
so far surely does better. What a stopped trial is told as is never better than that.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import floor, inf
from typing import Literal

from objectives import Bound, Measurement, Quadrant, RequestResult, Verdict, Workload
from objectives.quadrant import CAPACITY, FIRST_TOKEN, GPUS, SATURATED
from objectives.sequential import InBatches, MissCount, latency_tests
from objectives.sla import judge
from objectives.workload import Watch
from results.record import TrialRecord
from search_spaces import Config

Reason = Literal["promise", "first token", "capacity", "throughput"]
SAID: Mapping[Reason, str] = {
    "promise": "breaks the SLA",
    "first token": "later first tokens",
    "capacity": "less capacity",
    "throughput": "less throughput",
}
"""Than the best config so far."""


@dataclass(slots=True, kw_only=True)
class Race:
    """A trial against the best configs so far, in one workload; without any it is never lost.

    Args:
        best: of each quadrant at stake; ``None`` where there is none yet.
        promises: of each quadrant at stake.
        margin: by which the best must be better, since its figures may be luck.
        exact: whether a run's figures decide, not a test of what it is a sample of.
    """

    best: Mapping[Quadrant, TrialRecord | None] = field(default_factory=dict)
    promises: Mapping[Quadrant, tuple[Bound, ...]] = field(default_factory=dict)
    margin: float = 0.0
    exact: bool = True
    closed: dict[Quadrant, Reason] = field(default_factory=dict)

    @property
    def open(self) -> list[Quadrant]:
        return [quadrant for quadrant in self.best if quadrant not in self.closed]

    @property
    def lost(self) -> bool:
        return bool(self.closed) and not self.open

    @property
    def why(self) -> str:
        """Why a lost trial was stopped, in words."""
        return ", ".join(dict.fromkeys(SAID[reason] for reason in self.closed.values()))

    def watch_offered(self, workload: Workload) -> Watch | None:
        """Over when every quadrant is closed, by its promise or by its best first token."""
        if not self.best:
            return None
        watches: list[tuple[Quadrant, Reason, Watch]] = []
        for quadrant in self.open:
            broken = [_eased(bound, self._doubt) for bound in self.promises[quadrant]]
            watches.append((quadrant, "promise", self._breaking(workload, broken)))
            if (first := self._first_token(quadrant)) is not None:
                watches.append((quadrant, "first token", self._later(workload, first)))
        return _Closing(self, watches)

    def offered(self, measurement: Measurement) -> None:
        """Close what the whole run at the offered load has decided."""
        for quadrant in self.open:
            verdicts = [judge(bound, measurement).verdict for bound in self.promises[quadrant]]
            if Verdict.BROKEN in verdicts:
                self.closed[quadrant] = "promise"

    def level(self, config: Config, offered_rate: float, gpus: int) -> float | None:
        """The least capacity that would win a quadrant that is decided by it.

        ``None`` where that is not known, or no such quadrant is open.
        """
        levels = [self._least(q, config, offered_rate, gpus) for q in self._by_capacity()]
        known = [level for level in levels if level is not None]
        return min(known) if known and len(known) == len(levels) else None

    def below(self) -> None:
        """The capacity is less than any that would win."""
        for quadrant in self._by_capacity():
            self.closed[quadrant] = "capacity"

    def watch_saturated(self, workload: Workload, gpus: int) -> Watch | None:
        """Over when the requests take longer than the best config's would, where nothing else is
        at stake: another quadrant's winner is told by what it serves at most, too."""
        best = self.best.get(Quadrant.BULK)
        rate = best.metric(SATURATED.load, SATURATED.metric) if best else None
        if self.open != [Quadrant.BULK] or not rate:
            return None
        tokens = sum(request.output_tokens for request in workload.requests)
        return _TooLong(self, tokens / (rate * gpus * (1 - self.margin)))

    def saturated(self, measurement: Measurement) -> None:
        """Close what the run with all requests at once has decided."""
        best = self.best.get(Quadrant.BULK)
        rate = best.metric(SATURATED.load, SATURATED.metric) if best else None
        if rate is None or Quadrant.BULK in self.closed:
            return
        if float(measurement.metrics[SATURATED.metric] or 0.0) < rate * (1 - self.margin):
            self.closed[Quadrant.BULK] = "throughput"

    @property
    def _doubt(self) -> float:
        """By how much one run of an engine may differ from the next."""
        return 0.0 if self.exact else self.margin

    def _breaking(self, workload: Workload, bounds: list[Bound]) -> Watch:
        if self.exact:
            return MissCount(bounds, len(workload.requests))
        return InBatches(workload, latency_tests(bounds))

    def _later(self, workload: Workload, first: Bound) -> Watch:
        if self.exact:
            return MissCount([first], len(workload.requests), spare=1)
        return self._breaking(workload, [first])

    def _first_token(self, quadrant: Quadrant) -> Bound | None:
        best = self.best[quadrant]
        if best is None or quadrant.goals[0] != FIRST_TOKEN:
            return None
        limit = best.metric(FIRST_TOKEN.load, FIRST_TOKEN.metric)
        return _eased(Bound(FIRST_TOKEN.metric, "<=", limit), self.margin) if limit else None

    def _by_capacity(self) -> list[Quadrant]:
        return [q for q in self.open if q.goals[0] in (CAPACITY, GPUS)]

    def _least(self, quadrant: Quadrant, config: Config, rate: float, gpus: int) -> float | None:
        best = self.best[quadrant]
        capacity = best.metric("capacity", "capacity") if best else None
        if best is None or not capacity:
            return None
        more = capacity * (1 - self.margin)
        needed = best.metric(GPUS.load, GPUS.metric)
        if quadrant.goals[0] == CAPACITY or needed is None:
            return more
        fewer = _carried_by(needed - 1, config, rate, gpus)
        return min(fewer, max(more, _carried_by(needed, config, rate, gpus)))


def _carried_by(needed: float, config: Config, rate: float, gpus: int) -> float:
    """The least capacity of all GPUs with which so many of them carry the rate."""
    replicas = int(config.get("data_parallel_size", 1))
    enough = floor(needed / (gpus // replicas))
    return rate * replicas / enough if enough > 0 else inf


def _eased(bound: Bound, margin: float) -> Bound:
    return replace(bound, limit=bound.limit * (1 + margin if bound.sense == "<=" else 1 - margin))


class _Closing:
    """Closes each quadrant as one of its watches is over."""

    def __init__(self, race: Race, watches: list[tuple[Quadrant, Reason, Watch]]) -> None:
        self._race, self._watches = race, watches

    def over(self, result: RequestResult, now_s: float) -> bool:
        for quadrant, reason, watch in self._watches:
            if quadrant not in self._race.closed and watch.over(result, now_s):
                self._race.closed[quadrant] = reason
        return self._race.lost


class _TooLong:
    """Over when the run lasts longer than it may."""

    def __init__(self, race: Race, most_s: float) -> None:
        self._race, self._most_s = race, most_s

    def over(self, result: RequestResult, now_s: float) -> bool:
        if now_s > self._most_s:
            self._race.closed[Quadrant.BULK] = "throughput"
        return now_s > self._most_s
