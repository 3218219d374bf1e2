"""One level of load measured: met, broken or undecided.

On a noiseless engine the figures decide; on any other an interval does, and what it leaves
undecided is asked again with more requests.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from objectives import Bound, Load, Measurement, Verdict, Workload, judge
from objectives.growth import GROWTH, growth, keeping_up
from objectives.sequential import GrowthTest, InBatches, MissCount, latency_tests
from objectives.sla import holds, latency_s, patience_s
from objectives.workload import Watch
from runners import Engine

ANSWERS_IN_A_ROW = 3
"""A probe lasts at least so many times what the SLA gives a mean answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How finely capacity is searched."""

    resolution: float
    """The bracket is halved until its ends are no further apart than by this factor."""
    saturating: int
    """Times the study's requests are sent at once, so that the last few do not weigh much."""
    plateau: float = 0.0
    """In a closed loop, twice the requests in flight must serve more by this share, or it ends."""
    noisy: bool = False
    """Whether a verdict needs an interval, and capacity is the middle of its bracket."""
    runs: int = 1
    """Of one probe, at most, until its verdict is clear."""
    requests: float = math.inf
    """Of all probes, in multiples of one probe's, after which no probe is run again."""


NOISELESS = Effort(resolution=2 ** (1 / 128), saturating=3)
"""Capacity within 0.6 %, less than a tie."""
NOISY = Effort(
    resolution=2 ** (1 / 16), saturating=1, plateau=0.05, noisy=True, runs=2, requests=6.0
)
"""A bracket of 4.4 %, less than what two runs of one config differ by."""


@dataclass(frozen=True, slots=True)
class Probe:
    """One level, in requests per second or, in a closed loop, in flight."""

    level: float
    verdict: Verdict
    holds: bool
    """Its verdict, or what its figures say where that is undecided."""
    measurement: Measurement
    """All of its runs."""


def latency_bounds(bounds: tuple[Bound, ...]) -> tuple[Bound, ...]:
    """Those that a load can break."""
    return tuple(bound for bound in bounds if bound.metric.endswith("_ms"))


def offered_load(workload: Workload, bounds: tuple[Bound, ...]) -> Load:
    """The workload with the time after which its run ends."""
    longest = max(request.output_tokens for request in workload.requests)
    return Load(workload=workload, patience_s=patience_s(bounds, longest), purpose="offered")


def saturating_load(workload: Workload, effort: Effort) -> Load:
    """The requests all at once."""
    many = workload.lasting(0.0, requests=effort.saturating * len(workload.requests))
    return Load(workload=many.at_rate(math.inf))


Measured = tuple[Workload, Measurement]


@dataclass(slots=True)
class Prober:
    """Measures an engine at one level after the other, and keeps what it saw.

    Args:
        draws: the traffic, and the same drawn anew; a probe sees all of them.
        offered: the first draw as measured at its own level, which stands for a probe there.
    """

    engine: Engine
    draws: Sequence[Workload]
    bounds: tuple[Bound, ...]
    effort: Effort
    offered: Measurement | None = None
    probes: list[Probe] = field(default_factory=list)
    first_stride: float = 2.0
    """Factor to the next level above the first; each further one is its square, 2 at most."""
    spent: float = 0.0
    """In multiples of one probe."""

    @property
    def closed(self) -> bool:
        return self.draws[0].concurrency is not None

    def probe(self, level: float) -> Probe:
        """What happens at a level; asked again, where that is not clear and may still be."""
        runs = [self._first(level)]
        found = self._judged(level, runs)
        while found.verdict is Verdict.UNDECIDED and self._may_ask_again(len(runs)):
            runs.append(self._run(self.draws, level))
            found = self._judged(level, runs)
        self.probes.append(found)
        return found

    def _may_ask_again(self, times: int) -> bool:
        return times < self.effort.runs and self.spent < self.effort.requests

    def _first(self, level: float) -> Measured:
        at, known = self._at(self.draws[:1], level), self.offered
        if known and level == self._offered_level and len(at.requests) == len(known.results):
            self.spent += 1
            return at, known
        return self._run(self.draws[::-1], level)

    @property
    def _offered_level(self) -> float:
        workload = self.draws[0]
        return float(workload.concurrency or workload.request_rate)

    def _at(self, draws: Sequence[Workload], level: float) -> Workload:
        """The draws in rotation, for as long as a probe takes."""
        if self.closed:
            return _lasting([draw.at_concurrency(round(level)) for draw in draws], self.bounds)
        return _lasting([draw.at_rate(level) for draw in draws], self.bounds)

    def _run(self, draws: Sequence[Workload], level: float) -> Measured:
        at = self._at(draws, level)
        load = replace(
            offered_load(at, self.bounds),
            watch=lambda: self._watch(at),
            purpose="capacity probe",
        )
        measured = self.engine.measure(load)
        self.spent += len(measured.completed) / len(measured.results)
        return at, measured

    def _watch(self, at: Workload) -> Watch:
        if not self.effort.noisy:
            return MissCount(self.bounds, len(at.requests))
        growing = [] if self.closed else [GrowthTest(at)]
        return InBatches(at, [*latency_tests(self.bounds), *growing])

    def _judged(self, level: float, runs: Sequence[Measured]) -> Probe:
        whole = pooled([measurement for _, measurement in runs])
        growing = sum(growth(*run) for run in runs) / len(runs) > GROWTH
        kept = holds(self.bounds, whole) and not growing
        verdict = Verdict.MET if kept else Verdict.BROKEN
        if self.effort.noisy:
            verdicts = [judge(bound, whole).verdict for bound in self.bounds]
            verdict = worst([*verdicts, _keeping_up(runs) if growing else Verdict.MET])
        return Probe(level, verdict, kept and verdict is not Verdict.BROKEN, whole)


def _keeping_up(runs: Sequence[Measured]) -> Verdict:
    surely = all(keeping_up(*run) is Verdict.BROKEN for run in runs)
    return Verdict.BROKEN if surely else Verdict.UNDECIDED


def worst(verdicts: Sequence[Verdict]) -> Verdict:
    """Of several promises that must all be kept."""
    order = (Verdict.BROKEN, Verdict.UNDECIDED)
    return next((verdict for verdict in order if verdict in verdicts), Verdict.MET)


def pooled(runs: Sequence[Measurement]) -> Measurement:
    """Several runs as one: their requests in a row, the engine's account of the last."""
    return replace(
        runs[-1],
        results=tuple(result for run in runs for result in run.results),
        duration_s=sum(run.duration_s for run in runs),
    )


def _lasting(draws: Sequence[Workload], bounds: tuple[Bound, ...]) -> Workload:
    """Every draw once, and long enough for the load to build up.

    A short burst is served from empty queues, and one draw of bursty traffic is not like the next.
    """
    first, *others = draws
    least = sum(len(draw.requests) for draw in draws)
    if first.concurrency is not None:
        least = max(least, ANSWERS_IN_A_ROW * first.concurrency)
        return first.lasting(0.0, requests=least, then=others)
    mean_s = latency_s(bounds, first.mean_output_tokens)
    lasts_s = 0.0 if math.isinf(mean_s) else ANSWERS_IN_A_ROW * mean_s
    return first.lasting(lasts_s, requests=least, then=others)
