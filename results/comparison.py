"""When a gain or a change is claimed: ratios of runs, in pairs or not, and how sure they are."""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate
from statistics import fmean, stdev, variance

from objectives.student_t import quantile, two_sided_p

CONFIDENCE = 0.95
SIGNIFICANCE = 0.05
LARGEST_LOG = math.log(sys.float_info.max)


class Effect(StrEnum):
    BETTER = "better"
    WORSE = "worse"
    NOT_SHOWN = "not shown"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Geometric mean of the ratios, more than 1 is better, and its 95 % interval."""

    ratio: float
    low: float
    high: float
    p_value: float
    """Two-sided, of a true ratio of 1."""
    pairs: int
    """Without pairs, the runs of the side that has fewer."""


def paired(ratios: Sequence[float]) -> Comparison:
    """Student's t on the logarithms of the ratios, one per pair of runs, more than 1 is better.

    Raises:
        ValueError: there are fewer than two ratios, or one is not finite and positive.
    """
    if len(ratios) < 2:
        raise ValueError(f"A comparison needs at least two pairs of runs, but got {len(ratios)}.")
    logs = _logs(ratios)
    if min(logs) == max(logs):
        same = ratios[0]
        return Comparison(same, same, same, 1.0 if same == 1 else 0.0, len(ratios))
    error = stdev(logs) / math.sqrt(len(logs))
    return _student(fmean(logs), error, len(logs) - 1, len(logs))


def welch(before: Sequence[float], after: Sequence[float]) -> Comparison:
    """How many times ``after`` is ``before``, by Welch's t on the logarithms of unpaired runs.

    Degrees of freedom are rounded down, which makes the interval a little wider.

    Raises:
        ValueError: a side has fewer than two figures, or one is not finite and positive.
    """
    one, other = _logs(before), _logs(after)
    fewer = min(len(one), len(other))
    if fewer < 2:
        raise ValueError(f"A comparison needs at least two runs of each, but got {fewer}.")
    parts = (_error2(one), _error2(other))
    if not (whole := sum(parts)):
        same = math.exp(min(other[0] - one[0], LARGEST_LOG))
        return Comparison(same, same, same, 1.0 if same == 1 else 0.0, fewer)
    inverse = sum(
        (part / whole) ** 2 / (len(logs) - 1)
        for part, logs in zip(parts, (one, other), strict=True)
    )
    freedom = math.floor(1 / inverse + 1e-9)  # what is whole but for rounding stays so
    return _student(fmean(other) - fmean(one), math.sqrt(whole), freedom, fewer)


def _error2(logs: Sequence[float]) -> float:
    """Squared standard error of the mean; of equal values none at all, whatever rounding says."""
    return variance(logs) / len(logs) if min(logs) < max(logs) else 0.0


def _logs(figures: Sequence[float]) -> list[float]:
    for figure in figures:
        if not 0 < figure < math.inf:
            raise ValueError(
                f"Every figure must be finite and positive, but got {figure}. "
                "Leave out runs that have none."
            )
    return [math.log(figure) for figure in figures]


def _student(mean: float, error: float, freedom: int, pairs: int) -> Comparison:
    margin = quantile(CONFIDENCE, freedom) * error
    ratio, low, high = (
        math.exp(min(log, LARGEST_LOG)) for log in (mean, mean - margin, mean + margin)
    )
    return Comparison(ratio, low, high, two_sided_p(abs(mean) / error, freedom), pairs)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted for being several, in the order given (Holm 1979): all below 0.05 hold at once."""
    count = len(p_values)
    rising = sorted(range(count), key=p_values.__getitem__)
    scaled = ((count - rank) * p_values[index] for rank, index in enumerate(rising))
    adjusted = dict(zip(rising, accumulate(scaled, max), strict=True))
    return [min(1.0, adjusted[index]) for index in range(count)]


def effects(comparisons: Sequence[Comparison]) -> list[Effect]:
    """What the comparisons that are reported together show, their number being allowed for."""
    adjusted = holm([comparison.p_value for comparison in comparisons])
    return [_effect(*pair) for pair in zip(comparisons, adjusted, strict=True)]


def _effect(comparison: Comparison, adjusted_p: float) -> Effect:
    if adjusted_p < SIGNIFICANCE and comparison.low > 1:
        return Effect.BETTER
    if adjusted_p < SIGNIFICANCE and comparison.high < 1:
        return Effect.WORSE
    return Effect.NOT_SHOWN


def claimed(comparisons: Sequence[Comparison]) -> list[bool]:
    """Of which of the comparisons that are reported together a gain may be claimed."""
    return [effect is Effect.BETTER for effect in effects(comparisons)]
