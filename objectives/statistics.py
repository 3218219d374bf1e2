"""Percentiles and intervals for the outcomes of one run, in order of arrival."""

import math
import random
from collections.abc import Sequence
from itertools import accumulate, pairwise
from statistics import fmean, stdev

from objectives.student_t import quantile

RESAMPLES = 400


def percentile(ordered: Sequence[float], share: float) -> float:
    """Linear interpolation between closest ranks, NumPy's default and vLLM's; ``ordered`` sorted.

    Infinite where one of the two ranks that it lies between is.

    Raises:
        ValueError: nothing was observed.
    """
    if not ordered:
        raise ValueError("A percentile needs at least one observation.")
    position = share * (len(ordered) - 1)
    low = math.floor(position)
    high = min(low + 1, len(ordered) - 1)
    if position == low or ordered[low] == ordered[high]:  # Infinities have no difference.
        return ordered[low]
    return ordered[low] + (ordered[high] - ordered[low]) * (position - low)


def requests_needed(share: float, *, confidence: float = 0.95) -> int:
    """The fewest that can tell whether so large a share of requests keeps a limit.

    Of n requests without one miss it is known at this confidence that less than
    1 - (1 - confidence)**(1/n) of all miss (Clopper & Pearson, Biometrika 1934; at 95 % the rule
    of three). With fewer than these even a run without a miss leaves the promise open.

    Raises:
        ValueError: a share of 1, which no number of requests can show, or none.
    """
    if not 0 < share < 1:
        raise ValueError(f"`0 < share < 1` must hold, but got {share}.")
    return math.ceil(math.log(1 - confidence) / math.log(share))


def share_interval(
    hits: Sequence[bool], *, confidence: float = 0.90, seed: int = 0
) -> tuple[float, float]:
    """Two-sided interval of the share of hits by the circular block bootstrap.

    Neighbouring requests share a queue, so blocks of 2 x n**(1/3) of them are resampled together
    instead of single requests. The first follows the last (Politis & Romano 1992): otherwise the
    ends would weigh less than the middle, and the misses of a run that ends overloaded are there.
    """
    count = len(hits)
    if count == 0:
        raise ValueError("A share needs at least one observation.")
    length = min(count, max(1, round(2 * count ** (1 / 3))))
    sums = [0, *accumulate([*hits, *hits[: length - 1]])]
    blocks = [sums[start + length] - sums[start] for start in range(count)]
    rng = random.Random(seed)  # noqa: S311
    draws = max(1, round(count / length))
    shares = sorted(sum(rng.choices(blocks, k=draws)) / (draws * length) for _ in range(RESAMPLES))
    tail = (1 - confidence) / 2
    return percentile(shares, tail), percentile(shares, 1 - tail)


def percentile_interval(
    values: Sequence[float], share: float, *, confidence: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Two-sided interval of a percentile; ``math.inf`` for a request that never completed.

    Woodruff 1952: the share of requests up to the percentile is known to within an interval, and
    the percentiles at its ends are those of the percentile. So nothing is sorted but once.
    """
    count = len(values)
    ranked = sorted(range(count), key=values.__getitem__)
    ordered = [values[index] for index in ranked]
    hits = [False] * count
    for index in ranked[: min(max(1, round(share * count)), count - 1)]:
        hits[index] = True
    low, high = share_interval(hits, confidence=confidence, seed=seed)
    return percentile(ordered, min(low, share)), percentile(ordered, max(high, share))


def mean_interval(
    values: Sequence[float], *, confidence: float = 0.95, batches: int = 20
) -> tuple[float, float]:
    """Two-sided interval of the mean by batch means; both ends infinite where a value is.

    The means of long batches of neighbours hardly depend on each other (Law 2015, section 9.5).

    Raises:
        ValueError: there are fewer than two values or batches.
    """
    batches = min(batches, len(values))
    if batches < 2:
        raise ValueError(f"An interval of a mean needs at least two batches, but got {batches}.")
    center = fmean(values)
    if math.isinf(center):
        return center, center
    edges = [number * len(values) // batches for number in range(batches + 1)]
    means = [fmean(values[low:high]) for low, high in pairwise(edges)]
    margin = quantile(confidence, batches - 1) * stdev(means) / math.sqrt(batches)
    return center - margin, center + margin
