"""What calibration believes before it is told anything, as the runs on H100 say.

    python -m benchmarks.twin_accuracy.priors --data DIR

The 45 runs of the main group, KV cache in bf16: how much longer decodes and prompts take than the
kernels they are made of, what a request spends in the API, the host's part of a step by TP size,
and what is left. How far other models and GPUs are off that is seen in vLLM's other groups. No run
on H200 or of another engine is looked at.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, sqrt
from pathlib import Path
from statistics import geometric_mean

import numpy as np

from benchmarks.twin_accuracy.comparison import (
    FITTED_BACKEND,
    NEVER_FITTED_GPU,
    Comparison,
    compare,
)
from benchmarks.twin_accuracy.learnt import SCATTER, WIDE, probe_of
from benchmarks.twin_accuracy.measured import MAIN, Group, Row, read
from benchmarks.twin_accuracy.replay import KV_DTYPES, PROMPTS_PER_CLIENT
from runners.simulated.calibration import Parameters, Probe
from runners.simulated.calibration.belief import LEAST
from runners.simulated.calibration.least_squares import settle
from runners.simulated.calibration.probes import MOVES, errors
from runners.simulated.compiled.state import Floats

FEW = 3
"""Prompts per client of 8192-token answers, whose TTFT is not learnt from."""
ENOUGH = 5
"""Runs of a TP size to judge it by."""
DECODE, PREFILL, HOST, API = range(4)
"""Where calibration keeps them."""
SHARED = (DECODE, PREFILL, API)
TTFT, TPOT = "mean_ttft_ms", "mean_tpot_ms"


@dataclass(frozen=True, slots=True)
class Together:
    """One fit of all TP sizes: factors and API of all of them, a host of each."""

    decode_factor: float
    prefill_factor: float
    api_ms: float
    host_ms: dict[int, float]
    standard_errors: tuple[float, ...]
    """Of (log decode, log prefill, API, host by size)."""
    ttft_sd: float
    tpot_sd: float

    @property
    def factor(self) -> float:
        """Of decodes and prompts alike."""
        return sqrt(self.decode_factor * self.prefill_factor)


Sizes = dict[int, list[Probe]]


def by_size(found: Comparison) -> Sizes:
    """The runs to learn from by their TP size."""
    sizes: Sizes = {}
    for case in found.cases:
        prompts = PROMPTS_PER_CLIENT if case.ttft_counts else FEW
        size = case.row.setup.tensor_parallel_size
        sizes.setdefault(size, []).append(probe_of(case, found.kv_dtype, prompts))
    return dict(sorted(sizes.items()))


def together(sizes: Sizes) -> Together:
    names = np.array([n for probes in sizes.values() for probe in probes for n in probe.observed])
    order = [*SHARED, *[HOST] * len(sizes)]
    wide, least, moves = (np.array(of)[order] for of in (WIDE, LEAST, MOVES))

    def off(place: Floats) -> Floats:
        hosts = zip(sizes.values(), place[len(SHARED) :], strict=True)
        return np.array(
            [e for probes, host_ms in hosts for e in _errors(probes, place, float(host_ms))]
        )

    start, sds = np.zeros(len(order)), np.full(len(names), SCATTER)
    for _ in range(2):  # how far runs scatter is known only once they are fitted
        belief = settle(
            lambda place: off(place) / sds,  # noqa: B023
            np.zeros(len(order)),
            np.diag(wide**2),
            least=least,
            steps=moves,
            start=start,
        )
        start, left = belief.mean, belief.residuals * sds
        ttft_sd, tpot_sd = (float(np.sqrt((left[names == n] ** 2).mean())) for n in (TTFT, TPOT))
        sds = np.where(names == TTFT, ttft_sd, tpot_sd)
    return Together(
        decode_factor=exp(start[0]),
        prefill_factor=exp(start[1]),
        api_ms=float(start[2]),
        host_ms=dict(zip(sizes, start[len(SHARED) :].tolist(), strict=True)),
        standard_errors=tuple(np.sqrt(np.diag(belief.covariance)).tolist()),
        ttft_sd=ttft_sd,
        tpot_sd=tpot_sd,
    )


def _errors(probes: Sequence[Probe], place: Floats, host_ms: float) -> list[float]:
    parameters = Parameters(
        decode_factor=exp(place[0]),
        prefill_factor=exp(place[1]),
        host_ms=host_ms,
        api_ms=float(place[2]),
    )
    return [error for probe in probes for error in errors(probe, parameters).values()]


def factors(groups: Mapping[Group, Sequence[Row]]) -> list[float]:
    """TPOT measured over predicted, by what a calibration is of: vLLM's groups off H200, each TP
    size of theirs by itself. Geometric means."""
    told = []
    for group, rows in groups.items():
        if group.backend != FITTED_BACKEND or group.gpu == NEVER_FITTED_GPU:
            continue
        ratios: dict[int, list[float]] = {}
        for case in compare(group, rows, KV_DTYPES[0], prompts_of_long_answers=FEW).cases:
            if not case.twin.saturated:
                ratio = case.row.tpot_ms / case.twin.tpot_ms
                ratios.setdefault(case.row.setup.tensor_parallel_size, []).append(ratio)
        for size, of_size in sorted(ratios.items()):
            if len(of_size) >= ENOUGH:
                told.append(geometric_mean(of_size))
                print(f"{group}, TP {size}: {told[-1]:.2f} ({len(of_size)} runs)", flush=True)
    return told


def tell(groups: Mapping[Group, Sequence[Row]]) -> None:
    print("TPOT measured over predicted")
    spread = float(np.std(np.log(factors(groups))))
    fit = together(by_size(compare(MAIN, groups[MAIN], KV_DTYPES[0], prompts_of_long_answers=FEW)))
    hosts = ", ".join(f"TP {size} {ms:.2f}" for size, ms in fit.host_ms.items())
    host_sd_ms = sqrt(float(np.square(fit.standard_errors[len(SHARED) :]).mean()))
    print(f"decode {fit.decode_factor:.3f}, prefill {fit.prefill_factor:.3f}")
    print(f"KERNELS_FACTOR    {fit.factor:.2f}, SD of those above {fit.factor * spread:.2f}")
    print(f"HOST_MS           {hosts}; standard error {host_sd_ms:.1f}")
    print(f"API_MS            {fit.api_ms:.1f} +- {fit.standard_errors[2]:.1f}")
    print(f"TTFT_SD, TPOT_SD  {fit.ttft_sd:.3f}, {fit.tpot_sd:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    given = parser.parse_args()
    try:
        groups = read(given.data)
    except ValueError as error:
        parser.error(str(error))
    if MAIN not in groups:
        parser.error(f"there must be rows of {MAIN}, but there are none.")
    tell(groups)


if __name__ == "__main__":
    main()
