"""Noise of one run and of the machine between runs, and in which order a study's runs come."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, get_args

import numpy as np
from numpy.random import Generator

REQUESTS = 600
WITHIN_SD = 0.2
"""Of the logarithm of a request's latency."""
WITHIN_AR = 0.9
"""Correlation of the logarithms of neighbouring requests' latencies."""

Array = np.ndarray[Any, np.dtype[np.float64]]
Order = Literal["taking turns in going first", "the default always first", "all of one, then all"]
ORDERS: tuple[Order, ...] = get_args(Order)


def ar1(rng: Generator, runs: int, coefficient: float, requests: int = REQUESTS) -> Array:
    """Stationary AR(1) with unit variance: one row per request, one column per run."""
    found = rng.standard_normal((requests, runs))
    found[1:] *= math.sqrt(1 - coefficient**2)
    for before, now in pairwise(found):
        now += coefficient * before
    return found


def latencies(rng: Generator, runs: int, coefficient: float = WITHIN_AR) -> Array:
    """Lognormal with median 1, one column per run."""
    return np.exp(WITHIN_SD * ar1(rng, runs, coefficient))


FIGURES: Mapping[str, Callable[[Array], Array]] = {
    "p95 latency": lambda found: np.quantile(found, 0.95, axis=0),
    # A closed loop: the clients over the mean latency (Little).
    "throughput": lambda found: np.mean(found, axis=0),
}
"""What a run's slowness is read from; the ratio of two runs is that of the goal, inverted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What befalls a run as a whole: its slowness is multiplied."""

    run_sd: float
    """Of the logarithm of a lognormal factor."""
    drift: float = 0.0
    """By how much the last run of a study is slower than its first, linearly, as a logarithm."""
    burst_share: float = 0.0
    """Of the runs, those that a neighbour slows down,"""
    burst: float = 0.0
    """by this much, as a logarithm."""

    def slowness(self, rng: Generator, studies: int, places: Array) -> Array:
        """Logarithms, one row per study; ``places`` in the study from 0, the first, to 1."""
        shape = (studies, len(places))
        bursts = self.burst * (rng.random(shape) < self.burst_share)
        return rng.normal(0, self.run_sd, shape) + self.drift * places + bursts


def places(pairs: int, order: Order) -> tuple[Array, Array]:
    """Of the default's runs and of the winner's, pair by pair, from 0, the first, to 1."""
    numbers = np.arange(pairs)
    if order == "all of one, then all":
        default, winner = numbers, numbers + pairs
    else:
        swapped = numbers % 2 if order == "taking turns in going first" else 0 * numbers
        default, winner = 2 * numbers + swapped, 2 * numbers + 1 - swapped
    return default / (2 * pairs - 1), winner / (2 * pairs - 1)
