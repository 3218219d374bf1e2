"""The highest load at which the SLA holds: up to a bracket, then bisection of it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from objectives import Bound, Measurement, Verdict, Workload
from runners import Engine
from tuner.probing import NOISELESS, Effort, Probe, Prober, latency_bounds, saturating_load

DOUBLINGS = 10
HALVINGS = 4
"""A config that breaks the SLA at a sixteenth of the offered load has no capacity."""


@dataclass(slots=True)
class Capacity:
    """What the probes showed."""

    capacity: float
    """Requests per second of the whole deployment; 0 when the SLA holds at no rate tried."""
    at_capacity: Probe | None
    saturated: Measurement
    """The run with the highest output throughput: all at once, or a probe that held."""
    probes: list[Probe] = field(default_factory=list)
    """By level: the curve of latency over load."""

    @property
    def unsearched(self) -> bool:
        """Whether all that was asked is what is served at most."""
        return self.at_capacity is None and not self.probes

    @property
    def interval(self) -> tuple[float, float] | None:
        """The highest level that surely holds and the lowest that surely does not."""
        return interval(self.probes)

    @property
    def broken_below(self) -> list[float]:
        """Levels under the capacity at which the SLA is broken."""
        levels = [p.level for p in self.probes if p.verdict is Verdict.BROKEN]
        best = self.at_capacity
        return [level for level in levels if best and level < best.level]


def interval(probes: Sequence[Probe]) -> tuple[float, float] | None:
    """``None`` where no level surely holds, or none surely does not."""
    met = [p.level for p in probes if p.verdict is Verdict.MET]
    broken = [p.level for p in probes if p.verdict is Verdict.BROKEN]
    low = max(met, default=None)
    high = min((level for level in broken if low is None or level > low), default=None)
    return None if low is None or high is None else (low, high)


def find_capacity(
    engine: Engine,
    draws: Sequence[Workload],
    bounds: tuple[Bound, ...],
    *,
    effort: Effort = NOISELESS,
    from_saturation: bool = False,
) -> Capacity:
    """Search from the workload's own level; every probe counts as engine time.

    Args:
        draws: the traffic, and the same drawn anew: the last is what is sent all at once.
        from_saturation: begin at half of what is served when all is sent at once, for a workload
            whose own rate says nothing of this engine.
    """
    saturated = engine.measure(saturating_load(draws[-1], effort))
    prober = Prober(engine, draws, latency_bounds(bounds), effort)
    return search(prober, saturated, from_saturation=from_saturation)


def search(
    prober: Prober,
    saturated: Measurement,
    *,
    from_saturation: bool = False,
    monotone: bool = True,
) -> Capacity:
    """Go on from what was probed so far.

    Args:
        monotone: whether what holds at a level holds below it; else lower levels are looked at,
            and higher ones where the first is broken.
    """
    if not prober.bounds:
        throughput = float(saturated.metrics["request_throughput"] or 0.0)
        return Capacity(throughput, Probe(math.inf, Verdict.MET, True, saturated), saturated)
    if not prober.probes:
        prober.probe(_start(prober, saturated, from_saturation=from_saturation))
    if not monotone:
        _look_around(prober)
    _bracket(prober)
    best, worst = _bisect(prober)
    probes = sorted(prober.probes, key=lambda p: p.level)
    runs = [saturated, *(p.measurement for p in probes if p.holds)]
    fullest = max(runs, key=lambda run: run.metrics["output_throughput"] or 0.0)
    return Capacity(_capacity(prober, best, worst), best, fullest, probes)


def _start(prober: Prober, saturated: Measurement, *, from_saturation: bool) -> float:
    workload = prober.draws[0]
    if workload.concurrency:
        return float(workload.concurrency)
    served = float(saturated.metrics["request_throughput"] or 1.0)
    if math.isinf(workload.request_rate):
        return served
    return served / 2 if from_saturation else workload.request_rate


def _look_around(prober: Prober) -> None:
    """A waiting batch may break a promise at a low rate that it keeps at a higher one."""
    first = prober.probes[-1]
    if first.holds:
        prober.probe(_whole(prober, first.level / 2))
    elif not prober.probe(first.level * 2).holds:
        prober.probe(first.level * 4)


def _bracket(prober: Prober) -> None:
    """Probes upwards until one breaks or serves no more, or downwards until one holds."""
    for doubled in range(DOUBLINGS):
        best, worst = _ends(prober)
        if best is None or worst is not None or _flat(prober):
            break
        prober.probe(_whole(prober, best.level * _stride(prober, doubled)))
    level = min(p.level for p in prober.probes)
    least = level / 2**HALVINGS
    for halved in range(DOUBLINGS):
        level /= _stride(prober, halved)
        below = level < (1 if prober.closed else least * (1 - 1e-9))
        if _ends(prober)[0] is not None or below:
            break
        prober.probe(_whole(prober, level))


def _stride(prober: Prober, steps: int) -> float:
    if prober.closed:
        return 2.0  # less may be no other whole number
    return min(2.0, float(prober.first_stride ** (2**steps)))


def _ends(prober: Prober) -> tuple[Probe | None, Probe | None]:
    """The highest probe that holds, and the lowest above it that does not."""
    best = max((p for p in prober.probes if p.holds), key=lambda p: p.level, default=None)
    broken = [p for p in prober.probes if not p.holds and (not best or p.level > best.level)]
    return best, min(broken, key=lambda p: p.level, default=None)


def _flat(prober: Prober) -> bool:
    """Whether in a closed loop the last doubling brought next to nothing."""
    rising = sorted((p for p in prober.probes if p.holds), key=lambda p: p.level)
    if not prober.closed or not prober.effort.plateau or len(rising) < 2:
        return False
    before, now = (float(p.measurement.metrics["request_throughput"] or 0) for p in rising[-2:])
    return now < before * (1 + prober.effort.plateau)


def _bisect(prober: Prober) -> tuple[Probe | None, Probe | None]:
    while True:
        best, worst = _ends(prober)
        if best is None or worst is None or _narrow(prober, best.level, worst.level):
            return best, worst
        middle = math.sqrt(best.level * worst.level)
        if prober.closed:
            middle = min(max(round(middle), best.level + 1), worst.level - 1)
        prober.probe(middle)


def _narrow(prober: Prober, low: float, high: float) -> bool:
    if prober.closed and high - low <= 1:
        return True
    return high / low <= prober.effort.resolution * (1 + 1e-9)


def _whole(prober: Prober, level: float) -> float:
    return float(max(1, round(level))) if prober.closed else level


def _capacity(prober: Prober, best: Probe | None, worst: Probe | None) -> float:
    if best is None:
        return 0.0
    if prober.closed:
        return float(best.measurement.metrics["request_throughput"] or 0.0)
    return math.sqrt(best.level * worst.level) if prober.effort.noisy and worst else best.level
