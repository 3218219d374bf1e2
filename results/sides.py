"""A study as one of several that are held against each other, and what its winners were worth."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from objectives import Goal, Quadrant
from objectives.quadrant import CAPACITY, FIRST_TOKEN, SATURATED
from results.confirmation import DEFAULT, arm_of
from results.record import TrialRecord

COMPARED_BY: Mapping[Quadrant, Goal] = {
    Quadrant.LIVE_AT_SCALE: CAPACITY,
    Quadrant.INTERACTIVE: FIRST_TOKEN,
    # GPUs needed are whole numbers, and follow from capacity.
    Quadrant.ECONOMY: CAPACITY,
    Quadrant.BULK: SATURATED,
}
"""Fixed beforehand: a metric chosen for its difference would show one too often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What an objective was measured with, as far as studies may differ in it."""

    source: str
    requests: int
    request_rate: float | None
    """Offered to the whole deployment; ``None`` in a closed loop, or with all at once."""
    concurrency: int | None
    input_tokens: float
    """Mean per request over all draws, like ``output_tokens``."""
    output_tokens: float
    prefix_share: float
    """Of prompt tokens, those that an earlier request began with, too."""
    fresh: tuple[str, ...] = ()
    """A digest of each draw that only confirmation saw, by pair."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the studies."""

    label: str
    folder: str
    begun: str | None
    """When its first trial began, in UTC."""
    state: str
    """``finished``, or how far it is."""
    summary: Mapping[str, Any]
    traffic: Mapping[str, Traffic]
    """By objective."""
    runs: Sequence[TrialRecord] = ()
    """What was measured from files, in turns with the default."""

    def best(self, quadrant: Quadrant) -> Mapping[str, Any] | None:
        found: Mapping[str, Any] | None = self.summary["best"][quadrant]
        return found

    def figure(self, quadrant: Quadrant, goal: Goal) -> float | None:
        """What the search found of the winner, in one run."""
        best = self.best(quadrant)
        found = best["loads"].get(goal.load, {}).get(goal.metric) if best else None
        return found if _is_figure(found) else None

    def confirmed(self, quadrant: Quadrant, goal: Goal) -> dict[int, float]:
        """The winner's figure in each pair that has one."""
        best = self.best(quadrant)
        if best is None:
            return {}
        own = [r for r in self.runs if r.number == best["trial"]]
        arms = (DEFAULT, arm_of(best["trial"]))
        return _figures([r for r in own if r.arm in arms], best["objective"], goal)

    def over_default(self, quadrant: Quadrant, goal: Goal) -> dict[int, float]:
        """How many times better than the default the winner was, in each pair that has both."""
        best = self.best(quadrant)
        if best is None:
            return {}
        mine = self.confirmed(quadrant, goal)
        theirs = _figures([r for r in self.runs if r.arm == DEFAULT], best["objective"], goal)
        both = sorted(mine.keys() & theirs.keys())
        return {pair: better(mine[pair], theirs[pair], goal) for pair in both}


def better(after: float, before: float, goal: Goal) -> float:
    """How many times better; above 1 is better, whichever way the metric goes."""
    return after / before if goal.direction == "maximize" else before / after


def _figures(runs: Sequence[TrialRecord], objective: str, goal: Goal) -> dict[int, float]:
    found = {
        run.pair: run.metric(goal.load, goal.metric)
        for run in runs
        if run.pair is not None and run.objective == objective
    }
    return {pair: value for pair, value in sorted(found.items()) if _is_figure(value)}


def _is_figure(value: float | None) -> TypeGuard[float]:
    """A capacity of 0 is an answer, but nothing is so many times as good."""
    return value is not None and 0 < value < math.inf
