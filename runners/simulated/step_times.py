"""Which step-time model a deployment gets, and the cache in front of it."""

from functools import lru_cache
from typing import Literal

from runners.simulated.measured_kernels import MeasuredKernels
from runners.simulated.roofline import Roofline
from runners.simulated.step_time import StepTime
from search_spaces.deployment import Deployment

LARGEST_CACHE = 500_000
"""Steps kept; about 100 MB."""
KEPT_BITS = 8


class Cached(StepTime):
    """Remembers steps; KV tokens are rounded to 8 significant bits, at most 0.4 % off."""

    def __init__(self, steps: StepTime) -> None:
        self.source = steps.source
        self.uncertainty = steps.uncertainty
        self._step_ms = steps.step_ms
        self._known: dict[tuple[int, int, int, int, int], float] = {}

    def step_ms(
        self,
        prefill_requests: int,
        prefill_tokens: int,
        prefill_kv_tokens: int,
        decode_requests: int,
        decode_kv_tokens: int,
    ) -> float:
        step = (
            prefill_requests,
            prefill_tokens,
            rounded(prefill_kv_tokens),
            decode_requests,
            rounded(decode_kv_tokens),
        )
        ms = self._known.get(step)
        if ms is None:
            if len(self._known) >= LARGEST_CACHE:
                self._known.clear()
            ms = self._known[step] = self._step_ms(*step)
        return ms


def rounded(tokens: int) -> int:
    """The middle of all numbers that share the first 8 significant bits."""
    dropped = tokens.bit_length() - KEPT_BITS
    if dropped <= 0:
        return tokens
    return (tokens >> dropped << dropped) + (1 << dropped >> 1)


@lru_cache(maxsize=64)
def step_time(
    deployment: Deployment,
    *,
    tensor_parallel_size: int,
    kv_dtype: str = "bf16",
    prefer: Literal["auto", "roofline"] = "auto",
) -> StepTime:
    """Measured kernels where there are any for the deployment, else the roofline."""
    if prefer == "auto" and MeasuredKernels.covers(deployment.gpu):
        try:
            return Cached(
                MeasuredKernels(
                    deployment, tensor_parallel_size=tensor_parallel_size, kv_dtype=kv_dtype
                )
            )
        except ValueError:
            pass  # no kernels for this dtype or shape; what was taken is in `source`
    return Cached(
        Roofline(deployment, tensor_parallel_size=tensor_parallel_size, kv_dtype=kv_dtype)
    )
