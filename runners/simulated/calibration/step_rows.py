"""The rows of step logs that can be learnt from, as arrays, and how long each step took."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np

from runners.simulated.compiled.state import Floats
from runners.step_log import Step

LEAST_ROWS = 200
LEAST_PREFILLS = 20
WARM_UP = 20
"""First steps of a launch, left out: kernels are compiled and buffers allocated in them."""
JUNK_SHARE = 0.01
"""A log with more rows than this that cannot be right is not to be believed in the others."""
LONGEST_MS = 600_000.0
FALLING = -0.3
"""Rank correlation of a step's tokens and its time from which more work takes less time."""


@dataclass(frozen=True, slots=True)
class Rows:
    """One element per step, in order."""

    prefill_requests: Floats
    prefill_tokens: Floats
    pairs: Floats
    """Of a prompt token and a token it attends to, itself among them."""
    decode_requests: Floats
    decode_kv_tokens: Floats
    ms: Floats
    junk: int
    """Rows left out because they cannot be right."""

    def __len__(self) -> int:
        return len(self.ms)

    @property
    def tokens(self) -> Floats:
        return self.prefill_tokens + self.decode_requests

    @property
    def prefill_kv_tokens(self) -> Floats:
        """Such that the twin, which takes prompts of a step as equally long, gets these pairs."""
        tokens = np.maximum(self.prefill_tokens, 1)
        kv = self.prefill_requests * (self.pairs / tokens - 0.5) - self.prefill_tokens / 2
        return np.maximum(0.0, kv)


def rows_of(*logs: Sequence[Step]) -> Rows:
    """The usable steps of one or more launches.

    Raises:
        ValueError: too few, too many that cannot be right, or none that tell sizes apart.
    """
    told = [(step, ms) for log in logs for step, ms in zip(log, _elapsed_ms(log), strict=True)]
    junk = sum(not _possible(step, ms) for step, ms in told)
    if junk > JUNK_SHARE * len(told):
        raise ValueError(
            f"Of {len(told)} steps {junk} cannot be right (negative counts, no tokens, times that "
            "run backwards or are not finite); log the engine again."
        )
    kept = [
        (step, ms)
        for log in logs
        for step, ms in list(zip(log, _elapsed_ms(log), strict=True))[WARM_UP:]
        if _possible(step, ms)
    ]
    if len(kept) < LEAST_ROWS:
        raise ValueError(
            f"`usable steps >= {LEAST_ROWS}` must hold, but got {len(kept)} after the first "
            f"{WARM_UP} of each launch; log a longer run."
        )
    rows = _arrays(kept, junk)
    _refuse_uniform(rows)
    return rows


def _elapsed_ms(log: Sequence[Step]) -> list[float]:
    """From one output of the model to the next, or from the step's start after an idle time.

    So each step has its share of what the CPU does between steps, as the twin counts it, and
    under async scheduling nothing is counted twice.
    """
    elapsed, before_s, free_s = [], float("-inf"), float("-inf")
    for step in log:
        end_s = step.start_s + step.schedule_s + step.model_s
        # Whoever decodes was there in the step before: the engine was not idle in between.
        went_on = step.n_decodes > 0 or step.start_s <= free_s
        begin_s = before_s if went_on and isfinite(before_s) else step.start_s
        elapsed.append(1000 * (end_s - begin_s))
        before_s, free_s = end_s, end_s + step.post_s
    return elapsed


def _possible(step: Step, ms: float) -> bool:
    counts = (step.n_prefills, step.prefill_attention, step.n_decodes)
    return (
        0 < ms <= LONGEST_MS
        and min(counts) >= 0
        and step.n_prefills <= step.prefill_tokens
        and (step.n_prefills > 0) == (step.prefill_tokens > 0)
        and step.n_decodes <= step.decode_kv_tokens
        and step.prefill_tokens + step.n_decodes > 0
    )


def _arrays(kept: Sequence[tuple[Step, float]], junk: int) -> Rows:
    def column(name: str) -> Floats:
        return np.array([getattr(step, name) for step, _ in kept], dtype=np.float64)

    prefill_tokens = column("prefill_tokens")
    return Rows(
        prefill_requests=column("n_prefills"),
        prefill_tokens=prefill_tokens,
        # The log takes a token to attend to half of itself.
        pairs=column("prefill_attention") + prefill_tokens / 2,
        decode_requests=column("n_decodes"),
        decode_kv_tokens=column("decode_kv_tokens"),
        ms=np.array([ms for _, ms in kept]),
        junk=junk,
    )


def _refuse_uniform(rows: Rows) -> None:
    prefills = int((rows.prefill_tokens > 0).sum())
    if prefills < LEAST_PREFILLS:
        raise ValueError(
            f"`steps with prompts >= {LEAST_PREFILLS}` must hold, but got {prefills}; log traffic "
            "with more requests."
        )
    sizes = np.unique(rows.decode_requests[rows.decode_requests > 0])
    if len(sizes) < 2:
        only = f"all of {sizes[0]:.0f}" if len(sizes) else "none"
        raise ValueError(
            f"Decode batches of two sizes at least are needed, but got {only}; log traffic whose "
            "concurrency varies."
        )
    if (falling := _rank_correlation(rows.tokens, rows.ms)) < FALLING:
        raise ValueError(
            "Steps must take longer with more tokens, but here they take less (rank correlation "
            f"{falling:.2f}); something else than the engine's load set these times."
        )


def _rank_correlation(x: Floats, y: Floats) -> float:
    """Spearman's, equal values in order of appearance."""
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return 0.0
    x, y = (np.argsort(np.argsort(one, kind="stable")).astype(np.float64) for one in (x, y))
    return float(np.corrcoef(x, y)[0, 1])
