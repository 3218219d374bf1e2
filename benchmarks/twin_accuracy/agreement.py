"""How well predictions agree with measurements: relative errors, ranks, and a fit to probes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pairs = Sequence[tuple[float, float]]
"""(predicted, measured)."""


@dataclass(frozen=True, slots=True)
class Errors:
    """Relative errors, per cent of what was measured."""

    rows: int
    mape: float
    bias: float
    """Mean signed error: below 0 where the twin is the faster one."""
    p90: float
    worst: float
    """The largest, with its sign."""


def errors(pairs: Pairs) -> Errors | None:
    """``None`` of no pairs."""
    if not pairs:
        return None
    signed = np.array([100 * (predicted / measured - 1) for predicted, measured in pairs])
    absolute = np.abs(signed)
    return Errors(
        rows=len(signed),
        mape=round(float(absolute.mean()), 1),
        bias=round(float(signed.mean()), 1),
        p90=round(float(np.percentile(absolute, 90)), 1),
        worst=round(float(signed[absolute.argmax()]), 1),
    )


def spearman(pairs: Pairs) -> float | None:
    """Rank correlation, ties at their mean rank; ``None`` where there is nothing to rank."""
    if len(pairs) < 3:
        return None
    ranks = [_ranks(np.array(side)) for side in zip(*pairs, strict=True)]
    if any(np.ptp(side) == 0 for side in ranks):
        return None
    return round(float(np.corrcoef(ranks[0], ranks[1])[0, 1]), 4)


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    mean_rank: NDArray[np.float64] = (last - (counts - 1) / 2)[places]
    return mean_rank


@dataclass(frozen=True, slots=True)
class Affine:
    """measured = slope x predicted + intercept."""

    slope: float
    intercept_ms: float

    def __call__(self, predicted_ms: float) -> float:
        return self.slope * predicted_ms + self.intercept_ms


def affine(pairs: Pairs) -> Affine:
    """Through probes, by least squares of the relative errors."""
    told = np.array([[predicted / measured, 1 / measured] for predicted, measured in pairs])
    (slope, intercept_ms), *_ = np.linalg.lstsq(told, np.ones(len(pairs)), rcond=None)
    return Affine(float(slope), float(intercept_ms))
