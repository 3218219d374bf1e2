"""How often `tune compare` tells a change, true or not: python -m benchmarks.changes

Two studies whose truth is known are drawn, each with runs of its winner and its default in pairs,
and judged by the project's own functions. Each study's machine is as fast as it is that day.
"""

import argparse
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.random import Generator

from benchmarks.claims.binomial import Count
from benchmarks.machine import options, publish
from results.comparison import Effect, effects, welch

RUN_SDS = (0.03, 0.06)
DAY_SDS = (0.0, 0.02, 0.05)
"""Of the logarithms of how fast a run is, and how fast a machine is on the day of a study."""
TRUE_RATIOS = (1.0, 1.05, 1.1)
GAIN = 1.2


def judged(rng: Generator, pairs: int, run_sd: float, day_sd: float, ratio: float) -> list[Effect]:
    """Of the winner's level, and of its gain over its own default, which is the same in both."""
    days = rng.normal(0, day_sd, 2)
    defaults, winners = (rng.normal(0, run_sd, (2, pairs)) for _ in range(2))
    defaults += days[:, None]
    winners += days[:, None] + math.log(GAIN)
    winners[1] += math.log(ratio)
    level = welch(*np.exp(winners).tolist())
    return effects([level, welch(*np.exp(winners - defaults).tolist())])


def cell(
    rng: Generator, studies: int, pairs: int, run_sd: float, day_sd: float
) -> Mapping[str, Any]:
    found: dict[str, Any] = {"pairs": pairs, "run_sd": run_sd, "day_sd": day_sd}
    for ratio in TRUE_RATIOS:
        told = [judged(rng, pairs, run_sd, day_sd, ratio) for _ in range(studies)]
        for index, name in enumerate(("level", "over_default")):
            hits = sum(effect[index] is not Effect.NOT_SHOWN for effect in told)
            found[f"{name}_told_at_{ratio:.2f}"] = Count(hits, studies)
    return found


def table(cells: list[Mapping[str, Any]]) -> list[str]:
    told = [(of, ratio) for ratio in TRUE_RATIOS for of in ("level", "over_default")]
    names = [f"{of}_told_at_{ratio:.2f}" for of, ratio in told]
    shown = {"level": "level", "over_default": "gain"}
    heads = [f"{shown[of]} told at {ratio:.2f}" for of, ratio in told]
    lines = [["runs", "sd between runs", "sd between days", *heads]]
    lines += [["---"] * len(lines[0])]
    for found in cells:
        noise = [f"{100 * found[of]:.0f} %" for of in ("run_sd", "day_sd")]
        lines.append([str(found["pairs"]), *noise, *(str(found[name]) for name in names)])
    return [f"| {' | '.join(line)} |" for line in lines]


def measure(given: argparse.Namespace, printed: list[str]) -> Mapping[str, Any]:
    rng = np.random.default_rng(given.seed)
    cells = [
        cell(rng, given.studies, pairs, run_sd, day_sd)
        for pairs in given.pairs
        for run_sd in RUN_SDS
        for day_sd in DAY_SDS
    ]
    printed += table(cells)
    figures = [
        {name: value.figures() if isinstance(value, Count) else value for name, value in c.items()}
        for c in cells
    ]
    return {"studies": given.studies, "seed": given.seed, "gain": GAIN, "cells": figures}


def main() -> None:
    parser = options(__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--studies", type=int, default=1000, metavar="N", help="per cell")
    parser.add_argument("--pairs", type=int, nargs="+", default=[5, 10], metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    printed: list[str] = []
    publish(lambda: measure(given, printed), given.out)
    print("", *printed, sep="\n")


if __name__ == "__main__":
    main()
