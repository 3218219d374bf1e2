"""How often a claimed gain is none, a real one is found, and an interval holds the truth.

    python -m benchmarks.claims [--studies 400] [--pairs 5 8] [--seed 0] [--output FILE]

Studies whose truth is known are drawn from models of noise, and judged by the project's own
functions. After the JSON come its tables; in brackets, the 95 % interval of Clopper and Pearson.
"""

import argparse
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from benchmarks.claims import coverage, studies, tables
from benchmarks.claims.binomial import Count, verdict
from benchmarks.claims.noise import REQUESTS, WITHIN_AR, WITHIN_SD
from benchmarks.machine import options, publish


def measure(given: argparse.Namespace, printed: list[str]) -> Mapping[str, Any]:
    """The figures; their tables are added to ``printed``."""
    rng = np.random.default_rng(given.seed)
    found = [studies.measure(one, given.studies, rng) for one in studies.settings(given.pairs)]
    families = _families(given, rng)
    held = {one.about: coverage.covered(one) for one in coverage.traffics(rng, given.studies)}
    printed += [*tables.claims(found), "", *tables.families(families), "", *tables.coverage(held)]
    return {
        "studies": given.studies,
        "seed": given.seed,
        "requests": REQUESTS,
        "within_sd": WITHIN_SD,
        "within_ar1": WITHIN_AR,
        "settings": [_figures(one) for one in found],
        "families": {about: _family(count) for about, count in families.items()},
        "within_one_run": coverage.figures(held),
    }


def _families(given: argparse.Namespace, rng: np.random.Generator) -> Mapping[str, Count]:
    return {
        f"{pairs} pairs, {about}": studies.family(pairs, given.studies, rng, shared_default=shared)
        for pairs in given.pairs
        for about, shared in (("each its own", False), ("the same runs of the default", True))
    }


def _figures(found: studies.Found) -> dict[str, Any]:
    return {
        **asdict(found.setting),
        "figure_sd": found.figure_sd,
        "cells": [cell.figures() for cell in found.cells],
    }


def _family(count: Count) -> dict[str, Any]:
    told = verdict(count, at_most=studies.CLAIMED_AT_MOST)
    return {"any_claimed": count.figures(), "false_claims": told}


def main() -> None:
    parser = options(__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--studies", type=int, default=400, metavar="N", help="per cell")
    parser.add_argument("--pairs", type=int, nargs="+", default=[5, 8], metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    printed: list[str] = []
    publish(lambda: measure(given, printed), given.out)
    print("", *printed, sep="\n")


if __name__ == "__main__":
    main()
