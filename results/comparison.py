"""When a gain is claimed: paired ratios of a winner over the default, and how sure they are."""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate
from statistics import fmean, stdev

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
    """Geometric mean of the paired ratios, more than 1 is better, and its 95 % interval."""

    ratio: float
    low: float
    high: float
    p_value: float
    """Two-sided, of a true ratio of 1."""
    pairs: int


def paired(ratios: Sequence[float]) -> Comparison:
    """Student's t on the logarithms of the ratios, one per pair of runs, more than 1 is better.

    Raises:
        ValueError: there are fewer than two ratios, or one is not finite and positive.
    """
    if len(ratios) < 2:
        raise ValueError(f"A comparison needs at least two pairs of runs, but got {len(ratios)}.")
    for ratio in ratios:
        if not 0 < ratio < math.inf:
            raise ValueError(
                f"Every ratio must be finite and positive, but got {ratio}. "
                "Leave out pairs in which a run has no figure."
            )
    logs = [math.log(ratio) for ratio in ratios]
    if min(logs) == max(logs):
        same = ratios[0]
        return Comparison(same, same, same, 1.0 if same == 1 else 0.0, len(ratios))
    return _of_logs(logs)


def _of_logs(logs: Sequence[float]) -> Comparison:
    freedom = len(logs) - 1
    mean = fmean(logs)
    error = stdev(logs) / math.sqrt(len(logs))
    margin = quantile(CONFIDENCE, freedom) * error
    ratio, low, high = (
        math.exp(min(log, LARGEST_LOG)) for log in (mean, mean - margin, mean + margin)
    )
    return Comparison(ratio, low, high, two_sided_p(abs(mean) / error, freedom), len(logs))


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
