"""How sure a simulated study is of its answer: where real engines would be, and what may be said.

Of metrics at the offered load; a capacity, a cost and a gain carry no interval.
"""

from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Any

from objectives import parse_sla
from runners import Runner
from runners.simulated import SimulatedRunner
from runners.simulated.calibration import Interval, claims
from runners.simulated.engine import SimulatedEngine
from tuner.probing import offered_load
from tuner.problem import Case, Problem

Answer = dict[str, Any]
Intervals = Mapping[str, Interval]


def with_intervals(found: Answer, problem: Problem, runner: Runner) -> Answer:
    """The summary with each winner's intervals, and a ``claim`` beside each of its verdicts.

    Measured summaries stay as they are.
    """
    if not isinstance(runner, SimulatedRunner):
        return found
    best = {
        quadrant: winner and _told(winner, _intervals(winner, problem, runner))
        for quadrant, winner in found["best"].items()
    }
    return {**found, "best": best}


def _intervals(winner: Mapping[str, Any], problem: Problem, runner: SimulatedRunner) -> Intervals:
    with runner.launch(winner["config"]) as engine:
        return intervals_of(engine, problem.case(winner["objective"]), winner["sla"])


def intervals_of(engine: SimulatedEngine, case: Case, sla: Iterable[str]) -> Intervals:
    """At the offered load, the metrics of these bounds among them."""
    bounded = [bound.metric for name in sla for bound in parse_sla(name)]
    load = offered_load(case.workload, case.profile.sla)
    return engine.intervals(load, also=[m for m in bounded if m.endswith("_ms")])


def _told(winner: Mapping[str, Any], intervals: Intervals) -> Answer:
    return {
        **winner,
        "sla": claimed(winner["sla"], intervals),
        "intervals": intervals_json(intervals),
    }


def claimed(sla: Mapping[str, Mapping[str, Any]], intervals: Intervals) -> Answer:
    """Judgements with what may be claimed of each bound, where its metric has an interval."""
    return {name: {**judged, **_claim(name, intervals)} for name, judged in sla.items()}


def _claim(name: str, intervals: Intervals) -> Answer:
    (bound,) = parse_sla(name)
    interval = intervals.get(bound.metric)
    if interval is None:
        return {}
    return {
        "interval": _ends(interval),
        "claim": str(claims(bound, interval)),
    }


def intervals_json(intervals: Intervals) -> dict[str, list[float | None]]:
    """``[low, high]`` by metric; high is ``None`` where nobody may ever be answered."""
    return {name: _ends(interval) for name, interval in intervals.items()}


def _ends(interval: Interval) -> list[float | None]:
    return [interval.low, interval.high if isfinite(interval.high) else None]
