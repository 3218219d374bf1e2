"""What is believed of the parameters: before anything was measured, and after."""

from dataclasses import dataclass
from math import exp, log, sqrt

import numpy as np

from runners.simulated.calibration.parameters import Parameters
from runners.simulated.compiled.state import Floats

NAMES = ("decode_factor", "prefill_factor", "host_ms", "api_ms")
LEAST = np.array([log(0.05), log(0.05), 0.0, 0.0])
"""A fast machine's factor of 0.05 would mean that the model is of something else."""
KERNELS_FACTOR, KERNELS_FACTOR_SD = 1.1, 0.15
"""vLLM 0.10.2 on H100 and H200 (InferenceMAX, Llama-3.3-70B FP8, 105 points): TPOT is 1.06-1.14
times what measured kernels add up to, 1.32 at TP 8 on H100."""
HOST_SD_MS = 1.0
API_MS, API_SD_MS = 10.0, 5.0
"""5-15 ms are expected; BLIS (inference-sim) fitted 15.6 ms per request for vLLM's API server."""
TTFT_SD, TPOT_SD = 0.12, 0.05
"""Of their logarithms on held-out InferenceMAX points after three probes: mean absolute errors
of 9.8 % and 4.1 %. Of throughput and of tails nothing is known before; taken as alike."""


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
    """Of steps fitted to the engine's own log, which lack nothing but what is between steps.

    Wide enough for another day's clock speed; an assumption.
    """
    return _independent((0.0, 0.1), (0.0, HOST_SD_MS))


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
    """What InferenceMAX steps lacked: about none at TP 1 and 2, 0.9-1.3 ms at 4, 1.0-1.5 at 8."""
    return float(np.interp(tensor_parallel_size, (2, 4, 8), (0.5, 1.1, 1.25)))


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
