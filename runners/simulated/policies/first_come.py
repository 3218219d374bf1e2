"""What the policies of the literature share: first come, first served, and no gate to wait at.

None of them looks for cached prefixes or takes drafts: their systems had neither, or left both off
by default.
"""

import math
import sys

from runners.simulated.kv_cache import BLOCK_TOKENS, blocks_for
from runners.simulated.scheduler import Plan, Scheduler
from runners.simulated.sequence import Sequence

WATERMARK = 0.01
"""Share of the KV blocks an admission leaves free: vLLM V0's block manager, Sarathi-Serve's."""
UNBOUNDED = sys.maxsize
"""The token budget of a step that has none."""


class FirstCome:
    """Whoever is at the head of the queue may start as soon as there is a slot."""

    def admission_s(self, scheduler: Scheduler, now_s: float) -> float:
        return now_s if head(scheduler) else math.inf


def head(scheduler: Scheduler) -> Sequence | None:
    """Who is to be admitted next, if there is a slot."""
    if len(scheduler.running) >= scheduler.settings.max_num_seqs:
        return None
    return scheduler.waiting.head(gate_open=True)


def admit_head(
    scheduler: Scheduler, tokens: int, plan: Plan, *, reserved: int, spare: int = 0
) -> bool:
    """Start the head of the queue, unless the KV cache has no room.

    Args:
        tokens: how many of its prompt the step computes.
        reserved: tokens it takes KV blocks for.
        spare: tokens whose blocks must stay free, unless nobody runs who could use them.
    """
    sequence = scheduler.waiting.head(gate_open=True)
    needed = reserved + (spare if scheduler.running else 0)
    if sequence is None or not scheduler.admit(
        sequence, tokens, plan, reserved=reserved, needed=needed
    ):
        return False
    scheduler.waiting.pop(gate_open=True)
    return True


def watermark_tokens(scheduler: Scheduler) -> int:
    """Tokens in the 1 % of the KV blocks that an admission leaves to those that run."""
    held = sum(blocks_for(max(s.computed, s.reserved)) for s in scheduler.running)
    return BLOCK_TOKENS * int(WATERMARK * (held + scheduler.cache.available))


def grant_decodes(scheduler: Scheduler, plan: Plan) -> None:
    """A token to everybody who decodes, whatever the budget; the newest make room for the old."""
    for sequence in list(scheduler.running):
        if not sequence.decoding or sequence in plan.preempted:
            continue
        if scheduler.make_room(sequence, 1, plan):
            plan.grant(sequence, 1)


def not_stuck(scheduler: Scheduler, plan: Plan) -> Plan:
    """The plan, which must have work in it when nothing but waiting requests is there."""
    sequence = scheduler.waiting.head(gate_open=True)
    if plan.tokens or plan.preempted or scheduler.running or sequence is None:
        return plan
    raise ValueError(
        "A request must fit when it is alone, but one of "
        f"{sequence.request.input_tokens} input and {sequence.request.output_tokens} output "
        f"tokens does not fit {scheduler.cache.available} KV blocks under the policy's limits; "
        "lower what the policy reserves per request or raise its token limits."
    )
