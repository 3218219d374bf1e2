"""How far a prediction may be off, and what may be claimed of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import exp, hypot, inf, log, sqrt
from statistics import fmean, pstdev

import numpy as np

from objectives import Bound, Verdict
from runners.simulated.calibration.belief import LEAST, Calibration, parameters_at
from runners.simulated.calibration.parameters import Parameters

DRAWS = 16
SHARE = 0.90
WIDTH = 1.645
"""Standard deviations of a normal distribution on either side that hold ``SHARE`` of it."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A predicted metric and where 90 % of real engines would be."""

    value: float
    low: float
    high: float


def draws(calibration: Calibration, *, number: int = DRAWS, seed: int = 0) -> list[Parameters]:
    """Parameters as one config may have them, half of them mirrored so that they centre.

    What is left of TPOT's scatter is taken as of steps, so that a queue multiplies it here too.
    """
    mean, covariance = np.array(calibration.mean), np.array(calibration.covariance)
    factors = np.array([1.0, 1.0, 0.0, 0.0])
    covariance += calibration.tpot_sd**2 * np.outer(factors, factors)
    values, vectors = np.linalg.eigh(covariance)
    half = np.random.default_rng(seed).standard_normal((number // 2, len(mean)))
    moved = half * np.sqrt(np.maximum(values, 0.0)) @ vectors.T
    places = np.maximum(mean + np.concatenate((moved, -moved)), LEAST)
    return [parameters_at(place) for place in places]


def intervals(
    calibration: Calibration,
    metrics: Callable[[Parameters], Mapping[str, float | None]],
    *,
    at: Parameters | None = None,
    seed: int = 0,
) -> dict[str, Interval]:
    """Of every latency and rate among the metrics; ``metrics`` is called 17 times.

    Takes logarithms to be normal, which holds the better the further the load is from saturation.

    Args:
        at: where the predicted value is taken, if not where the calibration believes it; the
            interval is drawn out to hold it.
    """
    values = metrics(at or calibration.parameters)
    drawn = [metrics(parameters) for parameters in draws(calibration, seed=seed)]
    found = {}
    for name, value in values.items():
        residual = _residual_sd(calibration, name)
        if value and residual is not None:
            found[name] = _interval(value, [one.get(name) for one in drawn], residual)
    return found


def _interval(value: float, drawn: list[float | None], residual: float) -> Interval:
    logs = [log(one / value) for one in drawn if one]
    if len(logs) < len(drawn):  # with some of the parameters nobody would be answered
        return Interval(value, 0.0, inf)
    spread = hypot(pstdev(logs), residual)
    low, high = (value * exp(fmean(logs) + side * WIDTH * spread) for side in (-1, 1))
    return Interval(value, min(low, value), max(high, value))


def _residual_sd(calibration: Calibration, metric: str) -> float | None:
    """Beside what the draws have; ``None`` for what is neither a latency nor a rate."""
    tail = metric.startswith("p")
    if metric.endswith(("_ttft_ms", "_e2el_ms")):
        return calibration.ttft_tail_sd if tail else calibration.ttft_sd
    if metric.endswith(("_tpot_ms", "_itl_ms")):
        beyond = calibration.tpot_tail_sd**2 - calibration.tpot_sd**2
        return sqrt(max(0.0, beyond)) if tail else 0.0
    rates = ("_throughput", "_throughput_per_gpu")
    return calibration.throughput_sd if metric.endswith(rates) else None


def claims(bound: Bound, interval: Interval) -> Verdict:
    """What may be said of a bound: nothing inside the prediction's own error."""
    below, above = interval.high <= bound.limit, interval.low >= bound.limit
    if bound.sense == ">=":
        below, above = above, below
    if below:
        return Verdict.MET
    return Verdict.BROKEN if above else Verdict.UNDECIDED
