"""Cuts of a trace before it is replayed, each with notes for the user on what it did."""

import math
import random
from collections.abc import Sequence
from dataclasses import replace

from objectives.workload import Request
from tuner.errors import BadInput
from tuner.limits import of_zero
from tuner.traces.trace import Trace, with_full_blocks

Notes = tuple[str, ...]
"""Plain sentences for the user."""
Cut = tuple[Sequence[Request], Notes]


def within(trace: Trace, window: tuple[float, float] | None) -> Cut:
    """The requests that arrive from the window's start until just before its end."""
    if window is None:
        return trace.requests, ()
    if not trace.timed:
        raise BadInput(f"{trace.name} has no arrival times to cut a window from; drop the window.")
    start_s, end_s = window
    kept = [request for request in trace.requests if start_s <= request.arrival_s < end_s]
    if len(kept) < 2:
        raise BadInput(
            f"the window {start_s:g} s to {end_s:g} s of {trace.name} holds fewer than two "
            f"requests{of_zero(len(kept))}; choose one within 0 s to "
            f"{trace.requests[-1].arrival_s:g} s."
        )
    note = (
        f"{len(kept):,} of {len(trace.requests):,} requests arrive in the window "
        f"{start_s:g} s to {end_s:g} s"
    )
    return kept, (note,)


def scaled(request: Request, scale: float, block_tokens: int) -> Request:
    """Both lengths multiplied, but never down to nothing."""
    longer = replace(
        request,
        input_tokens=max(1, round(request.input_tokens * scale)),
        output_tokens=max(1, round(request.output_tokens * scale)),
    )
    return with_full_blocks(longer, block_tokens)


def spread(requests: Sequence[Request], tick_s: float, seed: int) -> Cut:
    """Arrivals moved to a random time within their tick, so that ticks are not bursts."""
    if not tick_s:
        return requests, ()
    rng = random.Random(f"{seed}/jitter")  # noqa: S311
    moved = [replace(r, arrival_s=r.arrival_s + rng.random() * tick_s) for r in requests]
    note = (
        f"arrival stamps come in {tick_s:.3g} s ticks; "
        "spread uniformly within each tick with the seed"
    )
    return sorted(moved, key=lambda request: request.arrival_s), (note,)


def short_enough(requests: Sequence[Request], longest_tokens: int | None) -> Cut:
    longest = math.inf if longest_tokens is None else longest_tokens
    kept = [r for r in requests if r.input_tokens + r.output_tokens <= longest]
    left_out = len(requests) - len(kept)
    if not left_out:
        return kept, ()
    plural = "s" if left_out > 1 else ""
    return kept, (f"{left_out:,} request{plural} longer than {longest:,} tokens left out",)
