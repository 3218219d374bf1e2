"""vLLM V1's own policy, and the variants of it that our scheduler class adds."""

import math

from runners.simulated.scheduler import Plan, Scheduler


class VllmV1:
    """After vLLM 0.32's ``v1/core/sched/scheduler.py``.

    The running requests are walked in order of admission under one token budget; then, if nobody
    was preempted, waiting ones are admitted while budget, slots and KV blocks last. A prompt may
    be computed in chunks. KV blocks are taken per chunk, but a request is admitted only if all of
    its prompt would fit; when blocks run out the last admitted one is preempted and recomputed.
    """

    def admission_s(self, scheduler: Scheduler, now_s: float) -> float:
        waiting, running = scheduler.waiting, len(scheduler.running)
        if not len(waiting) or running >= scheduler.settings.max_num_seqs:
            return math.inf
        opens_s = waiting.opens_at_s(running)
        if opens_s > now_s and waiting.head(gate_open=False) not in (None, scheduler.refused):
            return now_s
        head = waiting.head(gate_open=True)
        return math.inf if head and head is scheduler.refused else opens_s

    def plan(self, scheduler: Scheduler, now_s: float) -> Plan:
        admit = self.admission_s(scheduler, now_s) <= now_s
        gate_open = scheduler.waiting.opens_at_s(len(scheduler.running)) <= now_s
        if gate_open and not scheduler.running:
            scheduler.waiting.form_batch()
        decodes, prefills = self.visible(scheduler, admit)
        plan = Plan(scheduler.settings.max_num_batched_tokens)
        self._walk_running(scheduler, plan, decodes=decodes, prefills=prefills)
        if admit and not plan.preempted:
            self._admit(scheduler, plan, gate_open=gate_open)
        if not decodes and not plan.tokens:
            # No room for any prompt: the decodes run on and free some.
            self._walk_running(scheduler, plan, decodes=True, prefills=True)
        return plan

    def visible(self, scheduler: Scheduler, admit: bool) -> tuple[bool, bool]:
        """Whether the step takes decodes, and prompts that have begun."""
        return True, True

    @staticmethod
    def _walk_running(scheduler: Scheduler, plan: Plan, *, decodes: bool, prefills: bool) -> None:
        for sequence in list(scheduler.running):
            if plan.budget <= 0:
                return
            if sequence in plan.preempted or not (decodes if sequence.decoding else prefills):
                continue
            tokens = min(scheduler.wanted(sequence), plan.budget)
            if not scheduler.make_room(sequence, tokens, plan):
                return
            plan.grant(sequence, tokens)

    @staticmethod
    def _admit(scheduler: Scheduler, plan: Plan, *, gate_open: bool) -> None:
        settings, waiting = scheduler.settings, scheduler.waiting
        while plan.budget > 0 and len(scheduler.running) < settings.max_num_seqs:
            sequence = waiting.head(gate_open=gate_open)
            if sequence is None:
                return
            cached = scheduler.cached_tokens_of(sequence)
            tokens = scheduler.wanted(sequence, computed=cached)
            if tokens > plan.budget and not settings.enable_chunked_prefill:
                return
            if not scheduler.admit(
                sequence,
                min(tokens, plan.budget),
                plan,
                cached=cached,
                needed=sequence.target,
            ):
                waiting.close_batch()
                return
            waiting.pop(gate_open=gate_open)


class PrefillFirst(VllmV1):
    """Prompts alone while there are any, then decodes: a snappy start, stuttering streams."""

    def visible(self, scheduler: Scheduler, admit: bool) -> tuple[bool, bool]:
        prefilling = any(not sequence.decoding for sequence in scheduler.running)
        return not (prefilling or admit), True


class DecodeFirst(VllmV1):
    """No prompt is computed while anybody decodes: smooth streams, a slow start."""

    def admission_s(self, scheduler: Scheduler, now_s: float) -> float:
        if any(sequence.decoding for sequence in scheduler.running):
            return math.inf
        return super().admission_s(scheduler, now_s)

    def visible(self, scheduler: Scheduler, admit: bool) -> tuple[bool, bool]:
        return True, not any(sequence.decoding for sequence in scheduler.running)


class Static(VllmV1):
    """Whoever waits when nothing runs becomes a batch, and nobody joins until it is done.

    The queue keeps the membership; see ``WaitingQueue``.
    """
