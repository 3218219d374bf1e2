"""Paired ratios: how much better, between which bounds, and whether by chance."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, inf, isfinite, log, sqrt
from statistics import fmean, stdev

from objectives.student_t import quantile, two_sided_p

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Of paired ratios, oriented so that more than 1 is better."""

    ratio: float
    """Geometric mean."""
    low: float
    high: float
    """Ends of the two-sided 95 % interval of the mean log ratio, by Student's t."""
    p_value: float
    """Two-sided, of no difference."""
    pairs: int


def paired(ratios: Sequence[float]) -> Comparison:
    """
    Raises:
        ValueError: there are fewer than two ratios, or one is not above 0 and finite.
    """
    if len(ratios) < 2:
        raise ValueError(f"Pairs are compared by at least two ratios, but got {len(ratios)}.")
    if wrong := [ratio for ratio in ratios if not (ratio > 0 and isfinite(ratio))]:
        raise ValueError(f"A ratio must be above 0 and finite, but got {wrong[0]}.")
    logs = [log(ratio) for ratio in ratios]
    mean, freedom = fmean(logs), len(logs) - 1
    # Equal ratios have equal logs, but their deviations from a rounded mean are not quite 0.
    error = stdev(logs) / sqrt(len(logs)) if len(set(logs)) > 1 else 0.0
    margin = quantile(CONFIDENCE, freedom) * error
    t = abs(mean) / error if error else inf if mean else 0.0
    return Comparison(
        ratio=exp(mean),
        low=exp(mean - margin),
        high=exp(mean + margin),
        p_value=two_sided_p(t, freedom) if isfinite(t) else 0.0,
        pairs=len(logs),
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted for their number by Holm's step-down procedure, in the order given."""
    adjusted, worst = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        worst = max(worst, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = worst
    return adjusted
