"""Studies whose truth is known, confirmed in pairs of runs and judged by results/comparison.py."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.random import Generator

from benchmarks.claims.binomial import Count, verdict
from benchmarks.claims.noise import FIGURES, ORDERS, Array, Machine, Order, latencies, places
from results.comparison import claimed, paired

TRUE_RATIOS = (1.0, 1.03, 1.1)
RUN_SDS = (0.03, 0.06, 0.12)
CLAIMED_AT_MOST, COVERED_AT_LEAST = 0.05, 0.93
QUADRANTS = 4
QUIET = Machine(run_sd=RUN_SDS[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    about: str
    machine: Machine
    pairs: int
    goal: str = "throughput"
    order: Order = "taking turns in going first"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    true_ratio: float
    claimed: Count
    covered: Count

    def figures(self) -> dict[str, Any]:
        told = {"true_ratio": self.true_ratio}
        told |= {"claimed": self.claimed.figures(), "covered": self.covered.figures()}
        told["coverage"] = verdict(self.covered, at_least=COVERED_AT_LEAST)
        if self.true_ratio == 1:
            told["false_claims"] = verdict(self.claimed, at_most=CLAIMED_AT_MOST)
        return told


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    setting: Setting
    figure_sd: float
    """Of the logarithm of one run's figure, the machine's share included."""
    cells: tuple[Cell, ...]


def settings(pairs: Sequence[int]) -> Iterator[Setting]:
    """The grid, and what else a machine does to runs, at the least noise."""
    for goal in FIGURES:
        for run_sd in RUN_SDS:
            for count in pairs:
                yield Setting(
                    about="steady", machine=Machine(run_sd=run_sd), pairs=count, goal=goal
                )
    bursts = replace(QUIET, burst_share=0.1, burst=math.log(1.5))
    # Faster, so that it flatters the winner where that comes later.
    drift = replace(QUIET, drift=-math.log(1.2))
    for count in pairs:
        yield Setting(about="one run in ten is 50 % slower", machine=bursts, pairs=count)
        for order in ORDERS:
            about = f"20 % faster by the end; {order}"
            yield Setting(about=about, machine=drift, pairs=count, order=order)


def measure(setting: Setting, studies: int, rng: Generator) -> Found:
    return Found(
        setting=setting,
        figure_sd=float(np.std(_slowness(setting, rng, studies, 0 * places(1, setting.order)[0]))),
        cells=tuple(_cell(setting, ratio, studies, rng) for ratio in TRUE_RATIOS),
    )


def _cell(setting: Setting, true_ratio: float, studies: int, rng: Generator) -> Cell:
    default, winner = (
        _slowness(setting, rng, studies, side) for side in places(setting.pairs, setting.order)
    )
    ratios = true_ratio * np.exp(default - winner)
    told = [paired(study) for study in ratios.tolist()]
    return Cell(
        true_ratio=true_ratio,
        claimed=Count(sum(claimed([one])[0] for one in told), studies),
        covered=Count(sum(one.low <= true_ratio <= one.high for one in told), studies),
    )


def _slowness(setting: Setting, rng: Generator, studies: int, at: Array) -> Array:
    """Logarithms of the figures of the runs at these places of a study, one row per study."""
    within = FIGURES[setting.goal](latencies(rng, studies * len(at)))
    machine = setting.machine.slowness(rng, studies, at)
    return np.log(within).reshape(studies, len(at)) + machine


def family(pairs: int, studies: int, rng: Generator, *, shared_default: bool) -> Count:
    """Studies in which any of four quadrants claims a gain, no winner being better than it."""
    setting = Setting(about="four quadrants", machine=QUIET, pairs=pairs)
    at = np.zeros(pairs * QUADRANTS)
    shape = (studies, QUADRANTS, pairs)
    default, winner = (_slowness(setting, rng, studies, at).reshape(shape) for _ in range(2))
    if shared_default:
        default = default[:, :1]
    ratios = np.exp(default - winner)
    told = ([paired(quadrant) for quadrant in study] for study in ratios.tolist())
    return Count(sum(any(claimed(study)) for study in told), studies)
