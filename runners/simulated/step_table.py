"""A step-time model written down as tables and constants, which the compiled loop can read."""

from collections.abc import Callable
from typing import Any

import numpy as np

from runners.simulated.compiled.speculation import Speculation
from runners.simulated.compiled.state import Floats
from runners.simulated.compiled.steps import Steps, step_ms
from runners.simulated.step_time import StepTime

LARGEST = 16_384
"""Tokens up to which tables go; beyond, their last line goes on."""
EVERY_ONE = 512
SPACING = 64
NO_GRIDS: dict[str, Any] = {
    "decode_requests": np.zeros(0),
    "decode_mean_kv": np.zeros(0),
    "decode_grid_ms": np.zeros((0, 0)),
    "prefill_requests": np.zeros(0),
    "prefill_mean_chunk": np.zeros(0),
    "prefill_mean_kv": np.zeros(0),
    "prefill_grid_ms": np.zeros((0, 0, 0)),
}
"""Of a model whose attention is said by the constants alone."""
NO_STEPS = Steps(
    tokens_ms=np.zeros(2),
    decode_tokens_ms=np.zeros(2),
    communication_ms=np.zeros(2),
    rows_ms=np.zeros(2),
    prefill_ms=0.0,
    prefill_pair_ms=0.0,
    prefill_token_ms=0.0,
    prefill_kv_ms=0.0,
    decode_ms=0.0,
    decode_kv_ms=0.0,
    host_ms=0.0,
    host_row_ms=0.0,
    eager_ms=0.0,
    largest_graph=0,
    **NO_GRIDS,
)
NO_SPECULATION = Speculation(tokens=0, acceptance=0.0, seed=0, draft=NO_STEPS, drafts=False)


class Tabled(StepTime):
    """A model read from its table; never shorter for more work."""

    def __init__(self, steps: Steps, *, source: str, uncertainty: str) -> None:
        self.steps = steps
        self.source = source
        self.uncertainty = uncertainty

    def step_ms(
        self,
        prefill_requests: int,
        prefill_tokens: int,
        prefill_kv_tokens: int,
        decode_requests: int,
        decode_kv_tokens: int,
        drafted_tokens: int = 0,
    ) -> float:
        return step_ms(
            self.steps,
            prefill_requests,
            prefill_tokens,
            prefill_kv_tokens,
            decode_requests,
            decode_kv_tokens,
            drafted_tokens,
        )


def by_number(ms: Callable[[int], float]) -> Floats:
    """A table by tokens or rows, never falling: each one up to 512, then lines between others."""
    asked = [*range(EVERY_ONE + 1), *range(EVERY_ONE + SPACING, LARGEST + 1, SPACING)]
    told = np.maximum.accumulate([ms(number) for number in asked])
    return np.interp(np.arange(LARGEST + 1), asked, told)
