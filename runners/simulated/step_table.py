"""A step-time model written down as tables and constants, which the compiled loop can read."""

from collections.abc import Callable
from itertools import repeat
from typing import Any

import numpy as np

from runners.simulated.compiled.speculation import Speculation
from runners.simulated.compiled.state import Floats
from runners.simulated.compiled.steps import Steps, step_ms
from runners.simulated.step_time import StepTime

LARGEST = 16_384
"""Tokens up to which tables go; beyond, their last line goes on."""
EVERY_ONE = 512
SPACING = 128
STRAIGHT = 0.002
"""Share by which a line may miss the middle of what it spans before it is halved."""
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
    """A table by tokens or rows, never falling: each one up to 512, then lines between others.

    Kernels jump where another wave of tiles begins, such as just past 512 or 1024 tokens: lines
    are halved until they end at such a jump.
    """
    asked = {number: ms(number) for number in range(EVERY_ONE + 1)}
    for high in range(EVERY_ONE + SPACING, LARGEST + 1, SPACING):
        asked[high] = ms(high)
        _straighten(ms, asked, high - SPACING, high)
    numbers = np.array(sorted(asked), dtype=np.float64)
    told = never_falling(np.array([asked[number] for number in numbers]), np.gradient(numbers))
    return np.interp(np.arange(LARGEST + 1), numbers, told)


def _straighten(ms: Callable[[int], float], asked: dict[int, float], low: int, high: int) -> None:
    middle = (low + high) // 2
    if middle == low:
        return
    asked[middle] = ms(middle)
    line = (asked[low] + asked[high]) / 2
    if abs(asked[middle] - line) > STRAIGHT * line:
        _straighten(ms, asked, low, middle)
        _straighten(ms, asked, middle, high)


def never_falling(values: Floats, weights: Floats) -> Floats:
    """The rising sequence nearest to some values, in weighted least squares.

    Neighbours that fall are pooled at their mean (Ayer et al., Annals of Mathematical Statistics
    1955). The largest so far would do too, but spreads a single kernel that was measured slow,
    such as batches of one on B200, over all that take more.
    """
    pools: list[tuple[float, float, int]] = []
    for pool in zip(values.tolist(), weights.tolist(), repeat(1)):
        while pools and pools[-1][0] > pool[0]:
            pool = _pooled(pools.pop(), pool)
        pools.append(pool)
    return np.repeat([level for level, _, _ in pools], [number for _, _, number in pools])


def _pooled(
    one: tuple[float, float, int], other: tuple[float, float, int]
) -> tuple[float, float, int]:
    """(level, weight, number of values) of both."""
    weight = one[1] + other[1]
    return (one[0] * one[1] + other[0] * other[1]) / weight, weight, one[2] + other[2]
