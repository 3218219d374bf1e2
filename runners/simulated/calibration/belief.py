"""What is believed of the parameters: before anything was measured, and after."""

from dataclasses import dataclass, replace
from math import exp, log, sqrt

import numpy as np

from runners.simulated.calibration.parameters import Parameters
from runners.simulated.compiled.state import Floats

NAMES = ("decode_factor", "prefill_factor", "host_ms", "api_ms")
LEAST = np.array([log(0.05), log(0.05), 0.0, 0.0])
"""A fast machine's factor of 0.05 would mean that the model is of something else."""
KERNELS_FACTOR, KERNELS_FACTOR_SD = 1.12, 0.14
"""What vLLM 0.10.2 took on H100 over what measured kernels add up to (InferenceMAX, Llama-3.3-70B
FP8, 45 runs). The second is what other models and GPUs scatter by, each TP size by itself (vLLM's
runs without those on H200). ``python -m benchmarks.twin_accuracy.priors`` prints these and what
follows."""
HOST_MS, HOST_SD_MS = {2: 0.0, 4: 0.0, 8: 0.7}, 1.0
"""By tensor-parallel size, of those 45; at TP 2 and 4 what steps lack is a share of them."""
API_MS, API_SD_MS = 10.0, 5.0
"""5-15 ms are expected; BLIS (inference-sim) fitted 15.6 ms per request for vLLM's API server, the
runs above say 5.5 +- 3.6."""
TTFT_SD, TPOT_SD = 0.09, 0.05
"""Of their logarithms, with the parameters that suit all those runs best. Of throughput and of
tails nothing is known before; taken as alike."""
FIT_FACTOR_SD, FIT_HOST_SD_MS = 0.1, 1.0
"""Wide enough for another day's clock speed; an assumption."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """A normal distribution over (log, log, ms, ms) of `Parameters`, and what it leaves unsaid."""

    mean: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]
    ttft_sd: float
    """Of the logarithm of observed over predicted TTFT with the best parameters."""
    tpot_sd: float
    throughput_sd: float
    ttft_tail_sd: float
    """Of its 95th and 99th percentiles, a bias of theirs included."""
    tpot_tail_sd: float
    probes: int = 0
    """Real measurements learnt from."""
    steps: int = 0
    """Steps of real engines' logs learnt from."""
    kv_offset_tokens: int | None = None
    """What the engine's own KV capacity exceeds the estimate by; ``None``: it never said."""

    @property
    def parameters(self) -> Parameters:
        return parameters_at(np.array(self.mean))

    @property
    def standard_errors(self) -> dict[str, float]:
        """In the parameters' own units."""
        spread = np.sqrt(np.diag(self.covariance)).tolist()
        at = self.parameters
        return {
            "decode_factor": at.decode_factor * spread[0],
            "prefill_factor": at.prefill_factor * spread[1],
            "host_ms": spread[2],
            "api_ms": spread[3],
        }

    def kv_tokens(self, estimated: int) -> int:
        """KV capacity of a config as corrected; exact where the estimate errs by a constant."""
        return estimated + (self.kv_offset_tokens or 0)


def prior(tensor_parallel_size: int) -> Calibration:
    """Of sums of kernels, measured or from a roofline, before anything was measured here."""
    factor = (log(KERNELS_FACTOR), KERNELS_FACTOR_SD / KERNELS_FACTOR)
    return _independent(factor, (_host_ms(tensor_parallel_size), HOST_SD_MS))


def prior_of_fit() -> Calibration:
    """Of steps fitted to the engine's own log, which lack nothing but what is between steps."""
    return _independent((0.0, FIT_FACTOR_SD), (0.0, FIT_HOST_SD_MS))


def another_day(found: Calibration) -> Calibration:
    """What an earlier study leaves to believe: drivers, clocks and settings may have changed.

    That steps then differ by 5 % and 0.5 ms is an assumption.
    """
    moved = np.diag([0.05**2, 0.05**2, 0.5**2, 0.5**2])
    return replace(found, covariance=rows(np.array(found.covariance) + moved))


def of_another_kind(found: Calibration, tensor_parallel_size: int) -> Calibration:
    """What trials with plain weights and cache leave to believe of quantised or drafting ones.

    That these are off by as much again as anything unmeasured is an assumption.
    """
    unknown = np.array(prior(tensor_parallel_size).covariance)
    return replace(found, covariance=rows(np.array(found.covariance) + unknown))


def _independent(factor: tuple[float, float], host_ms: tuple[float, float]) -> Calibration:
    told = (factor, factor, host_ms, (API_MS, API_SD_MS))
    return Calibration(
        mean=tuple(mean for mean, _ in told),
        covariance=rows(np.diag([sd**2 for _, sd in told])),
        ttft_sd=TTFT_SD,
        tpot_sd=TPOT_SD,
        throughput_sd=TPOT_SD,
        ttft_tail_sd=TTFT_SD,
        tpot_tail_sd=TPOT_SD,
    )


def _host_ms(tensor_parallel_size: int) -> float:
    return float(np.interp(tensor_parallel_size, list(HOST_MS), list(HOST_MS.values())))


def parameters_at(place: Floats) -> Parameters:
    return Parameters(
        decode_factor=exp(place[0]),
        prefill_factor=exp(place[1]),
        host_ms=float(place[2]),
        api_ms=float(place[3]),
    )


def rows(matrix: Floats) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in matrix.tolist())


def blended_sd(before: float, residuals: Floats, spent: float) -> float:
    """A standard deviation held before, counted as two residuals, and those now seen.

    Args:
        spent: residuals' worth of information that went into the parameters.
    """
    freedom = max(1.0, len(residuals) - spent)
    seen = float((residuals**2).sum()) / freedom if len(residuals) else 0.0
    return sqrt((2 * before**2 + len(residuals) * seen) / (2 + len(residuals)))
