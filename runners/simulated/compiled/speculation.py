"""Speculative decoding: how many drafted tokens a step keeps (Leviathan et al., arXiv 2211.17192).

Each drafted token is accepted with the same chance, given that those before it were. The draw
depends on the request and on how far its answer has got, and on nothing else: two configs that
differ elsewhere see the same luck.
"""

from typing import NamedTuple

import numpy as np

from runners.simulated.compiled.jit import jit, kept
from runners.simulated.compiled.steps import Steps, step_ms


class Speculation(NamedTuple):
    """``tokens`` 0: none."""

    tokens: int
    """Drafted per request and step."""
    acceptance: float
    seed: int
    draft: Steps
    """Of the draft model."""
    drafts: bool
    """Whether a draft model runs; n-grams are looked up on the host in no time to speak of."""


class Model(NamedTuple):
    """What decides how long a step takes and how many tokens it yields."""

    steps: Steps
    speculation: Speculation


@kept
def accepted(drafted: int, acceptance: float, seed: int, request: int, outputs: int) -> int:
    """Drafted tokens kept by a request that has produced so many."""
    luck = _uniform(seed, request, outputs)
    kept_tokens, chance = 0, acceptance
    while kept_tokens < drafted and luck < chance:
        kept_tokens += 1
        chance *= acceptance
    return kept_tokens


@kept
def draft_ms(
    speculation: Speculation,
    prefill_requests: int,
    prefill_tokens: int,
    prefill_kv_tokens: int,
    decode_requests: int,
    decode_kv_tokens: int,
) -> float:
    """The draft model reads the same prompts and runs once per drafted token."""
    if not speculation.drafts:
        return 0.0
    draft, ms = speculation.draft, 0.0
    if prefill_tokens:
        ms += step_ms(draft, prefill_requests, prefill_tokens, prefill_kv_tokens, 0, 0, 0)
    if decode_requests:
        one_ms = step_ms(draft, 0, 0, 0, decode_requests, decode_kv_tokens, 0)
        ms += speculation.tokens * one_ms
    return ms


@jit
def _uniform(seed: int, request: int, outputs: int) -> float:
    """SplitMix64 (Steele, Lea, Flood, OOPSLA 2014) of the three numbers."""
    x = np.uint64(seed)
    for number in (request, outputs):
        x += np.uint64(number) * np.uint64(0xD1342543DE82EF95) + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x ^= x >> np.uint64(31)
    return float(x >> np.uint64(11)) / 2.0**53
