"""How often the intervals that are made within one run hold the truth."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator

from benchmarks.claims.binomial import Count
from benchmarks.claims.noise import REQUESTS, WITHIN_SD, Array, latencies
from objectives.statistics import mean_interval, percentile_interval, share_interval

SHARE = 0.95
Z = 1.6448536269514722
"""What a standard normal stays below with probability ``SHARE``."""
BUSY = (0.5, 0.8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    about: str
    latencies: Array
    """One column per run."""
    p95: float
    mean: float


def traffics(rng: Generator, runs: int) -> Iterator[Traffic]:
    """Stationary from the first request on, so their truths are known exactly."""
    for coefficient in (0.0, 0.5, 0.9):
        yield Traffic(
            about=f"lognormal, AR(1) {coefficient:g}",
            latencies=latencies(rng, runs, coefficient),
            p95=math.exp(WITHIN_SD * Z),
            mean=math.exp(WITHIN_SD**2 / 2),
        )
    for busy in BUSY:
        yield Traffic(
            about=f"M/M/1 queue, {busy:.0%} busy".replace("%", " %"),
            latencies=queue(rng, runs, busy),
            p95=-math.log(1 - SHARE) / (1 - busy),
            mean=1 / (1 - busy),
        )


def queue(rng: Generator, runs: int, busy: float, requests: int = REQUESTS) -> Array:
    """Sojourn times in an M/M/1 queue by Lindley's recursion; a service takes 1 on average."""
    wait = np.where(rng.random(runs) < busy, rng.exponential(1 / (1 - busy), runs), 0.0)
    found = np.empty((requests, runs))
    for sojourn in found:
        sojourn[:] = wait + rng.exponential(1.0, runs)
        wait = np.maximum(0.0, sojourn - rng.exponential(1 / busy, runs))
    return found


def covered(traffic: Traffic) -> Mapping[str, Count]:
    """Runs whose interval holds the truth, by interval."""
    counts: dict[str, int] = {}
    for run in traffic.latencies.T.tolist():
        hits = [latency <= traffic.p95 for latency in run]
        held = {
            "share, nominal 90 %": _holds(SHARE, share_interval(hits, confidence=0.9)),
            "share, nominal 95 %": _holds(SHARE, share_interval(hits, confidence=0.95)),
            "p95, nominal 95 %": _holds(traffic.p95, percentile_interval(run, SHARE)),
            "mean, nominal 95 %": _holds(traffic.mean, mean_interval(run)),
        }
        counts = {name: counts.get(name, 0) + hit for name, hit in held.items()}
    runs = traffic.latencies.shape[1]
    return {name: Count(hits, runs) for name, hits in counts.items()}


def _holds(truth: float, interval: tuple[float, float]) -> bool:
    return interval[0] <= truth <= interval[1]


def figures(found: Mapping[str, Mapping[str, Count]]) -> dict[str, Any]:
    return {
        about: {name: count.figures() for name, count in counts.items()}
        for about, counts in found.items()
    }
