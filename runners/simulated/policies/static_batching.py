"""Request-level batching: a padded batch runs until its longest answer has ended."""

import math

from runners.simulated.kv_cache import blocks_for
from runners.simulated.policies.first_come import UNBOUNDED, not_stuck
from runners.simulated.scheduler import Plan, Scheduler
from runners.simulated.sequence import Sequence


class StaticBatching:
    """FasterTransformer behind Triton's dynamic batcher (``max_queue_delay_microseconds``).

    An idle engine starts a batch once ``max_num_seqs`` requests wait (``batch_wait_min_requests``
    if that is set), or once the oldest has waited ``batch_wait_timeout_ms``. Every row is padded
    to the longest prompt and the longest answer, in time and in KV cache, and nobody joins. All
    answers are sent when the last has ended, so that TTFT is E2EL; with ``streaming``, tokens
    are sent as they come and a request ends at its own length, its row computed on to the end.

    Keeps the batch: one object per replica.
    """

    def __init__(self, *, streaming: bool = False) -> None:
        self.streaming = streaming
        self._batch: list[Sequence] = []

    def admission_s(self, scheduler: Scheduler, now_s: float) -> float:
        if scheduler.running or not len(scheduler.waiting):
            return math.inf
        return max(now_s, scheduler.waiting.opens_at_s(0))

    def plan(self, scheduler: Scheduler, now_s: float) -> Plan:
        plan = Plan(UNBOUNDED)
        if not scheduler.running:
            self._launch(scheduler, plan)
            return not_stuck(scheduler, plan)
        row_tokens = scheduler.running[0].computed
        for sequence in self._batch:
            # Whoever has ended runs no more, so this only says what the row costs.
            sequence.computed = row_tokens
            plan.grant(sequence, 1)
            if not self.streaming:
                sequence.first_token_s = None
        return plan

    def _launch(self, scheduler: Scheduler, plan: Plan) -> None:
        self._batch = _members(scheduler)
        prompt = max((s.request.input_tokens for s in self._batch), default=0)
        answer = max((s.request.output_tokens for s in self._batch), default=0)
        for sequence in self._batch:
            scheduler.admit(sequence, prompt, plan, reserved=prompt + answer)
            if not self.streaming:
                # Counted so that all reach their lengths in the batch's last step.
                sequence.outputs = sequence.request.output_tokens - answer


def _members(scheduler: Scheduler) -> list[Sequence]:
    """The head of the queue, as many as there are slots and KV blocks for at full length."""
    members: list[Sequence] = []
    prompt = answer = 0
    while len(members) < scheduler.settings.max_num_seqs:
        sequence = scheduler.waiting.head(gate_open=True)
        if sequence is None:
            break
        prompt = max(prompt, sequence.request.input_tokens)
        answer = max(answer, sequence.request.output_tokens)
        if (len(members) + 1) * blocks_for(prompt + answer) > scheduler.cache.available:
            break
        members.append(scheduler.waiting.pop(gate_open=True))
    return members
