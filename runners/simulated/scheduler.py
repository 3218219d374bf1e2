"""What one replica of vLLM V1 computes in its next step.

After vLLM 0.32's ``v1/core/sched/scheduler.py``: the running requests are walked in order of
admission under one token budget; then, if nobody was preempted, waiting ones are admitted while
budget, slots and KV blocks last. A prompt may be computed in chunks; KV blocks are allocated per
chunk; when they run out the last admitted request is preempted and recomputed later.
"""

import math
from dataclasses import dataclass, field

from runners.simulated.decode_set import DecodeSet
from runners.simulated.kv_cache import KVCache, blocks_for
from runners.simulated.queue import WaitingQueue
from runners.simulated.sequence import Sequence
from runners.simulated.settings import SchedulerSettings


@dataclass(slots=True)
class Plan:
    """One step: prompt chunks, and whether the decoding requests get their token."""

    chunks: list[tuple[Sequence, int]] = field(default_factory=list)
    decode: bool = True
    starved: list[Sequence] = field(default_factory=list)
    """Decoding requests the budget did not reach."""
    preempted: list[Sequence] = field(default_factory=list)


class Scheduler:
    """Waiting and running requests and their KV cache; keeps no clock."""

    def __init__(self, settings: SchedulerSettings, cache: KVCache, *, group_tokens: int) -> None:
        self.settings = settings
        self.cache = cache
        self.waiting = WaitingQueue(settings)
        self.running: list[Sequence] = []
        """In order of admission, both those still computing their prompt and those decoding."""
        self.prefilling: list[Sequence] = []
        self.decodes = DecodeSet()
        self.preemptions = 0
        self.cached_tokens = 0
        self._group_tokens = group_tokens
        self._admitted = 0
        self._refused: Sequence | None = None
        """A head of the queue that found no KV blocks, and will not until some free up."""

    def admission_s(self, now_s: float) -> float:
        """The earliest time at which a waiting request may be admitted, as things stand."""
        settings = self.settings
        if not len(self.waiting) or len(self.running) >= settings.max_num_seqs:
            return math.inf
        if settings.batch_policy == "decode_first" and self.decodes.count:
            return math.inf
        opens_s = self.waiting.opens_at_s(len(self.running))
        if opens_s > now_s and self.waiting.head(gate_open=False) not in (None, self._refused):
            return now_s
        head = self.waiting.head(gate_open=True)
        return math.inf if head and head is self._refused else opens_s

    def plan(self, now_s: float) -> Plan:
        """The next step."""
        policy = self.settings.batch_policy
        admit = self.admission_s(now_s) <= now_s
        gate_open = self.waiting.opens_at_s(len(self.running)) <= now_s
        if gate_open and not self.running:
            self.waiting.form_batch()
        hide_decodes = policy == "prefill_first" and (bool(self.prefilling) or admit)
        hide_prefills = policy == "decode_first" and self.decodes.count > 0
        plan = Plan(decode=not hide_decodes)
        budget = self._schedule_running(plan, prefills=not hide_prefills)
        if admit and not plan.preempted:
            self._admit(plan, budget, gate_open=gate_open)
        if hide_decodes and not plan.chunks:
            # No room for any prompt: the decodes run on and free some.
            plan.decode = True
            self._schedule_running(plan, prefills=True)
        return plan

    def _schedule_running(self, plan: Plan, *, prefills: bool) -> int:
        """Give running requests their tokens; what is left of the budget."""
        decodes = self.decodes if plan.decode else None
        budget = self.settings.max_num_batched_tokens - (decodes.count if decodes else 0)
        wanted = [(s, self._chunk(s)) for s in self.prefilling] if prefills else []
        short = sum(tokens for _, tokens in wanted) > budget
        if budget < 0 or (short and decodes and not self._prefills_come_last()):
            return self._walk_running(plan, prefills=prefills)
        chunks, need = [], decodes.blocks_due if decodes else 0
        for sequence, tokens in wanted:
            granted = min(tokens, budget)
            if granted > 0:
                budget -= granted
                need += self._blocks_missing(sequence, granted)
                chunks.append((sequence, granted))
        if not self.cache.allocate(need):
            return self._walk_running(plan, prefills=prefills)
        plan.chunks = chunks
        return budget

    def _prefills_come_last(self) -> bool:
        return self.running[-len(self.prefilling)] is self.prefilling[0]

    def _walk_running(self, plan: Plan, *, prefills: bool) -> int:
        """The same request by request, for steps short of budget or KV blocks."""
        granted: dict[Sequence, int] = {}
        budget = self.settings.max_num_batched_tokens
        for sequence in list(self.running):
            if budget <= 0:
                break
            if sequence in plan.preempted or not (plan.decode if sequence.decoding else prefills):
                continue
            tokens = 1 if sequence.decoding else min(self._chunk(sequence), budget)
            if not self._make_room(sequence, tokens, plan, granted):
                break
            granted[sequence] = tokens
            budget = self.settings.max_num_batched_tokens - sum(granted.values())
        plan.chunks = [(s, tokens) for s, tokens in granted.items() if not s.decoding]
        if plan.decode:
            plan.starved = [s for s in self.running if s.decoding and s not in granted]
        return budget

    def _make_room(
        self, sequence: Sequence, tokens: int, plan: Plan, granted: dict[Sequence, int]
    ) -> bool:
        """Allocate blocks for the tokens, preempting others; ``False`` if it was itself."""
        while not self.cache.allocate(self._blocks_missing(sequence, tokens)):
            if self.settings.scheduling_policy == "priority":
                victim = max(self.running, key=lambda s: s.urgency)
            else:
                victim = self.running[-1]
            self._preempt(victim, granted.pop(victim, 0))
            plan.preempted.append(victim)
            if victim is sequence:
                return False
        return True

    def _preempt(self, victim: Sequence, granted: int) -> None:
        """Take back everything, blocks granted in this very step included."""
        self.cache.release(self._blocks_missing(victim, granted))
        self.running.remove(victim)
        if victim.decoding:
            self.decodes.remove(victim)
            victim.decoding = False
        else:
            self.prefilling.remove(victim)
        self._free(victim)
        victim.target = victim.request.input_tokens + victim.outputs
        victim.computed = 0
        victim.preemptions += 1
        self.preemptions += 1
        self.waiting.push(victim)

    def _admit(self, plan: Plan, budget: int, *, gate_open: bool) -> None:
        """Move waiting requests to the running ones while budget, slots and blocks last."""
        settings = self.settings
        while budget > 0 and len(self.running) < settings.max_num_seqs:
            sequence = self.waiting.head(gate_open=gate_open)
            if sequence is None:
                return
            hits = self._cached_groups(sequence)
            tokens = self._chunk(sequence, computed=hits * self._group_tokens)
            if tokens > budget and not settings.enable_chunked_prefill:
                return
            tokens = min(tokens, budget)
            if not self._take_blocks(sequence, hits, tokens):
                self.waiting.close_batch()
                # With idle hits it may yet fit: once they are evicted, its first chunk is smaller.
                if not self.cache.idle_blocks(sequence.request.blocks[:hits]):
                    self._refused = sequence
                return
            self.waiting.pop(gate_open=gate_open)
            sequence.computed = hits * self._group_tokens
            sequence.groups = hits
            sequence.order = self._admitted
            self._admitted += 1
            self.cached_tokens += sequence.computed
            self.running.append(sequence)
            self.prefilling.append(sequence)
            plan.chunks.append((sequence, tokens))
            budget -= tokens

    def _take_blocks(self, sequence: Sequence, hits: int, tokens: int) -> bool:
        shared = sequence.request.blocks[:hits]
        computed = hits * self._group_tokens
        need = blocks_for(computed + tokens) - blocks_for(computed)
        if need + self.cache.idle_blocks(shared) > self.cache.available:
            return False
        self.cache.hold(shared)
        return self.cache.allocate(need)

    def _cached_groups(self, sequence: Sequence) -> int:
        """Leading groups that need no computing; at least one token always does."""
        whole = (sequence.target - 1) // self._group_tokens
        return self.cache.cached(sequence.request.blocks[:whole])

    def _chunk(self, sequence: Sequence, *, computed: int | None = None) -> int:
        """Prompt tokens the request would compute next, the budget left aside."""
        tokens = sequence.target - (sequence.computed if computed is None else computed)
        threshold = self.settings.long_prefill_token_threshold
        alone = len(self.running) + len(self.waiting) == 1
        return min(tokens, threshold) if threshold and not alone else tokens

    def _blocks_missing(self, sequence: Sequence, tokens: int) -> int:
        computed = self.decodes.computed(sequence) if sequence.decoding else sequence.computed
        return blocks_for(computed + tokens) - blocks_for(computed)

    def compute(self, chunks: list[tuple[Sequence, int]], now_s: float) -> list[Sequence]:
        """Book computed prompt chunks; the requests whose first token was their last."""
        finished = []
        for sequence, tokens in chunks:
            sequence.computed += tokens
            self._publish(sequence)
            if sequence.computed < sequence.target:
                continue
            self.prefilling.remove(sequence)
            sequence.outputs += 1
            if sequence.first_token_s is None:
                sequence.first_token_s = now_s
            if sequence.outputs == sequence.request.output_tokens:
                finished.append(sequence)
            else:
                sequence.decoding = True
                self.decodes.add(sequence)
        return finished

    def _publish(self, sequence: Sequence) -> None:
        """Share the prefix groups the request has computed so far."""
        groups = sequence.request.blocks
        while (
            sequence.groups < len(groups)
            and (sequence.groups + 1) * self._group_tokens <= sequence.computed
            and self.cache.publish(groups[sequence.groups])
        ):
            sequence.groups += 1
            self._refused = None

    def retire(self, finished: list[Sequence], now_s: float) -> list[Sequence]:
        """Let finished requests go."""
        for sequence in finished:
            sequence.decoding = False
            sequence.finish_s = now_s
            self.running.remove(sequence)
            self._free(sequence)
        return finished

    def _free(self, sequence: Sequence) -> None:
        shared = sequence.groups * self._group_tokens
        self.cache.release(blocks_for(sequence.computed) - blocks_for(shared))
        self.cache.drop(sequence.request.blocks[: sequence.groups])
        sequence.groups = 0
        self._refused = None
