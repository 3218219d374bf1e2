"""Step logs of engines whose step times are known."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from runners.simulated.calibration import FittedSteps
from runners.simulated.calibration.fitted import TERMS
from runners.simulated.calibration.least_squares import Linear
from runners.step_log import Step

StepMs = Callable[[int, int, int, int, int], float]
"""As ``StepTime.step_ms``."""
POST_S = 0.0002
TAKES_MS = {"step_ms": 5.0, "token_ms": 0.1, "row_ms": 0.5}
FITTED = FittedSteps(
    Linear(
        np.array([TAKES_MS.get(term, 0.0) for term in TERMS]),
        np.zeros((len(TERMS), len(TERMS))),
        0.05,
    ),
    rows=500,
    largest_tokens=512,
)
"""Steps of which all is known."""


def logged(counts: Sequence[tuple[int, ...]], times_ms: Sequence[float]) -> tuple[Step, ...]:
    """The log of an engine that is never idle; counts as ``step_ms`` takes them."""
    steps: list[Step] = []
    start_s = 100.0
    for (prefills, tokens, earlier, decodes, kv), ms in zip(counts, times_ms, strict=True):
        gap_s = POST_S if steps else 0.0
        attention = tokens * (earlier + tokens / 2) / max(1, prefills)
        step = Step(
            start_s=start_s,
            n_prefills=prefills,
            prefill_tokens=tokens,
            prefill_attention=int(attention),
            n_decodes=decodes,
            decode_kv_tokens=kv,
            running=prefills + decodes,
            waiting=0,
            kv_usage=0.1,
            preemptions=0,
            schedule_s=0.0001,
            model_s=ms / 1000 - gap_s - 0.0001,
            post_s=POST_S,
        )
        steps.append(step)
        start_s = step.start_s + step.schedule_s + step.model_s + POST_S
    return tuple(steps)


def traffic(number: int, seed: int = 0) -> list[tuple[int, ...]]:
    """Steps of a mixed load: half of them decode only."""
    rng = np.random.default_rng(seed)
    counts: list[tuple[int, ...]] = []
    for _ in range(number):
        decodes = int(rng.integers(0, 64))
        prefills = int(rng.integers(0, 4)) if rng.random() < 0.5 else 0
        prefills = max(prefills, 1 - min(1, decodes))
        tokens = int(rng.integers(prefills, 1 + 512 * prefills)) if prefills else 0
        earlier = int(rng.integers(0, 2048)) if prefills else 0
        kv = decodes * int(rng.integers(16, 4096))
        counts.append((prefills, tokens, earlier, decodes, kv))
    return counts


@pytest.fixture(scope="session")
def log_of() -> Callable[..., tuple[Step, ...]]:
    """The log of an engine with these step times, each off by a share of ``noise``."""

    def make(step_ms: StepMs, number: int = 2000, *, noise: float = 0.0) -> tuple[Step, ...]:
        counts = traffic(number)
        factors = np.exp(noise * np.random.default_rng(1).standard_normal(number))
        return logged(counts, [step_ms(*c) * f for c, f in zip(counts, factors, strict=True)])

    return make
