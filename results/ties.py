"""Which records cannot be told apart."""

from dataclasses import dataclass

from objectives import Goal
from results.record import TrialRecord


@dataclass(frozen=True, slots=True)
class Ties:
    """How far two values may lie apart and be taken for equal."""

    relative: float
    intervals: bool = True
    """Whether values whose intervals overlap are equal, too."""

    def __call__(self, a: TrialRecord, b: TrialRecord, goal: Goal) -> bool:
        """Whether both have the goal and are not told apart by it."""
        x, y = (record.metric(goal.load, goal.metric) for record in (a, b))
        if x is None or y is None:
            return False
        return tied(x, y, self.relative) or (self.intervals and _overlap(a, b, goal))


def tied(a: float, b: float, relative: float) -> bool:
    """Whether two values are equal to within a share of the larger one."""
    return abs(a - b) <= relative * max(abs(a), abs(b))


def _overlap(a: TrialRecord, b: TrialRecord, goal: Goal) -> bool:
    one, other = (record.interval(goal.load, goal.metric) for record in (a, b))
    return one is not None and other is not None and one[0] <= other[1] and other[0] <= one[1]
