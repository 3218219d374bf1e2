"""Least squares that outliers do not bend: with coefficients of at least 0, and around a prior.

In numpy: SciPy has both, but nothing else here needs it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runners.simulated.compiled.state import Floats

Flags = NDArray[np.bool_]
HUBER = 1.345
"""Standard deviations up to which a residual counts in full: 95 % of least squares' precision on
normal noise (Huber, "Robust Statistics", 1981)."""
PER_MAD = 1.4826
"""Standard deviations of normal noise per median absolute deviation."""
BLOCK = 50
"""Neighbouring rows taken as one when their noise is judged: steps in a row share a load."""
ROUNDS = 50
FAR, TWICE = 10.0, 1.0
"""Standard deviations, and share of the line, beyond both of which a row is left out at the end.
The others then count in full: where rows are late more often than early, their mean is wanted."""


@dataclass(frozen=True, slots=True)
class Linear:
    """Coefficients of at least 0 and what is known of them."""

    coefficients: Floats
    covariance: Floats
    """Zero where a coefficient is held at 0."""
    scatter: float
    """Standard deviation of a row about the line, as a share of the line."""


def fit_linear(columns: Floats, values: Floats) -> Linear:
    """Robust fit of ``values`` by ``columns`` [row, term]; errors are shares of the line."""
    norms = np.sqrt((columns**2).mean(axis=0))
    norms[norms == 0] = 1.0
    scaled = columns / norms
    weights, line = np.ones(len(values)), values
    found = np.zeros(columns.shape[1])
    for _ in range(ROUNDS):
        rows = np.sqrt(weights) / line
        before, found = found, nonnegative(scaled * rows[:, None], values * rows)
        line = np.maximum(scaled @ found, 1e-3 * np.median(values))
        residuals = values / line - 1
        weights = huber(residuals / scatter_of(residuals))
        if np.allclose(found, before, rtol=1e-6, atol=0):
            break
    far = max(FAR * scatter_of(residuals), TWICE)
    weights = (residuals <= far).astype(np.float64)
    rows = np.sqrt(weights) / line
    found = nonnegative(scaled * rows[:, None], values * rows)
    line = np.maximum(scaled @ found, 1e-3 * np.median(values))
    residuals = values / line - 1
    covariance = _covariance(scaled / line[:, None], weights, residuals, found > 0)
    return Linear(found / norms, covariance / np.outer(norms, norms), scatter_of(residuals))


def nonnegative(columns: Floats, values: Floats) -> Floats:
    """Lawson and Hanson, "Solving Least Squares Problems" (1974), algorithm NNLS."""
    q, r = np.linalg.qr(columns)
    target = q.T @ values
    found = np.zeros(columns.shape[1])
    free = np.zeros(len(found), dtype=bool)
    least = 1e-10 * float(np.abs(r.T @ target).max(initial=0.0))
    for _ in range(3 * len(found)):
        slope = np.where(free, -np.inf, r.T @ (target - r @ found))
        if slope.max() <= least:
            break
        free[int(slope.argmax())] = True
        found, free = _within(r, target, found, free)
    return found


def _within(r: Floats, target: Floats, found: Floats, free: Flags) -> tuple[Floats, Flags]:
    """The best with these terms free; those that would fall below 0 are held there."""
    while free.any():
        best = np.zeros(len(found))
        best[free] = np.linalg.lstsq(r[:, free], target, rcond=None)[0]
        below = free & (best <= 0)
        if not below.any():
            return best, free
        room = found[below] / np.maximum(found[below] - best[below], 1e-300)
        found = found + room.min() * (best - found)
        free = free & ~(below & (found <= 1e-12 * max(1.0, found.max())))
        found = np.where(free, found, 0.0)
    return np.zeros(len(found)), free


def huber(residuals: Floats) -> Floats:
    """Weights of residuals given in standard deviations."""
    return HUBER / np.maximum(np.abs(residuals), HUBER)


def scatter_of(residuals: Floats) -> float:
    """Their standard deviation about 0 as most of them have it."""
    return max(1e-9, PER_MAD * float(np.median(np.abs(residuals))))


def _covariance(columns: Floats, weights: Floats, residuals: Floats, free: Flags) -> Floats:
    """White's sandwich (1980) over blocks of neighbours, which need not be independent."""
    covariance = np.zeros((len(free), len(free)))
    kept = columns[:, free]
    bread = np.linalg.pinv(kept.T @ (kept * weights[:, None]))
    pulls = kept * (weights * residuals)[:, None]
    sums = np.add.reduceat(pulls, np.arange(0, len(pulls), BLOCK), axis=0)
    covariance[np.ix_(free, free)] = bread @ (sums.T @ sums) @ bread
    return covariance


@dataclass(frozen=True, slots=True)
class Belief:
    """A normal distribution over parameters, and the residuals at its mean."""

    mean: Floats
    covariance: Floats
    residuals: Floats
    """In standard deviations, as the caller scaled them."""
    slopes: Floats
    """[residual, parameter]: what a residual rises by."""


Residuals = Callable[[Floats], Floats]
"""From parameters to (observed - predicted) / standard deviation."""


def settle(
    residuals: Residuals,
    mean: Floats,
    covariance: Floats,
    *,
    least: Floats,
    steps: Floats,
    start: Floats | None = None,
) -> Belief:
    """Levenberg and Marquardt's method around a normal prior, with Huber's weights.

    Args:
        least: what no parameter may fall below.
        steps: by how much each is moved for its slope.
        start: where to begin, if not at the prior's mean.
    """
    precision = _inverse(covariance)
    at, damping = (mean if start is None else start).copy(), 1e-3
    found = residuals(at)
    slopes = _slopes(residuals, at, found, steps)
    for _ in range(TRIES):
        curvature, pull = newton(found, slopes, at - mean, precision)
        damped = curvature + damping * np.diag(np.diag(curvature))
        tried: Floats = np.maximum(at + np.linalg.solve(damped, pull), least)
        moved = tried - at
        if float(moved @ curvature @ moved) < NEAR:
            break
        there = residuals(tried)
        if _cost(there, tried - mean, precision) < _cost(found, at - mean, precision):
            at, found, damping = tried, there, damping / 10
            slopes = _slopes(residuals, at, found, steps)
        else:
            damping *= 10
    curvature, _ = newton(found, slopes, at - mean, precision)
    return Belief(at, _inverse(curvature), found, slopes)


TRIES = 20
NEAR = 1e-2
"""Squared standard deviations of the outcome that are too short a move to be worth it."""


def newton(
    found: Floats, slopes: Floats, away: Floats, precision: Floats
) -> tuple[Floats, Floats]:
    """Gauss and Newton's curvature, and the pull downhill."""
    weights = huber(found)
    curvature = slopes.T @ (slopes * weights[:, None]) + precision
    return curvature, -slopes.T @ (weights * found) - precision @ away


def _inverse(matrix: Floats) -> Floats:
    return np.asarray(np.linalg.inv(matrix), dtype=np.float64)


def _cost(residuals: Floats, away: Floats, precision: Floats) -> float:
    size = np.abs(residuals)
    losses = np.where(size <= HUBER, size**2, 2 * HUBER * size - HUBER**2)
    return float(losses.sum() + away @ precision @ away)


def _slopes(residuals: Residuals, at: Floats, found: Floats, steps: Floats) -> Floats:
    moved = [residuals(at + step) for step in np.diag(steps)]
    return (np.array(moved).T - found[:, None]) / steps
