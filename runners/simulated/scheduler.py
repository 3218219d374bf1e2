"""The requests of one replica and their KV cache: what every policy plans its steps with.

Written to be read; `compiled/` is the same for speed, and a property holds the two equal.
"""

from dataclasses import dataclass, field

from runners.simulated.compiled.speculation import Speculation, accepted
from runners.simulated.kv_cache import KVCache, blocks_for
from runners.simulated.queue import WaitingQueue
from runners.simulated.sequence import Sequence
from runners.simulated.settings import SchedulerSettings
from runners.simulated.step_table import NO_SPECULATION


@dataclass(slots=True)
class Plan:
    """One step: who gets how many tokens."""

    budget: int
    """Tokens that the step may still take."""
    tokens: dict[Sequence, int] = field(default_factory=dict)
    preempted: list[Sequence] = field(default_factory=list)

    def grant(self, sequence: Sequence, tokens: int) -> None:
        self.tokens[sequence] = tokens
        self.budget -= tokens

    def take_back(self, sequence: Sequence) -> int:
        """A preempted request's tokens."""
        tokens = self.tokens.pop(sequence, 0)
        self.budget += tokens
        return tokens


class Scheduler:
    """Waiting and running requests and their KV cache; keeps no clock."""

    def __init__(
        self,
        settings: SchedulerSettings,
        cache: KVCache,
        *,
        group_tokens: int,
        speculation: Speculation = NO_SPECULATION,
    ) -> None:
        self.settings = settings
        self.speculation = speculation
        self.cache = cache
        self.waiting = WaitingQueue(settings)
        self.running: list[Sequence] = []
        """In order of admission, both those still computing their prompt and those decoding."""
        self.preemptions = 0
        self.cached_tokens = 0
        self.draft_tokens = 0
        self.accepted_draft_tokens = 0
        self.refused: Sequence | None = None
        """A head of the queue that found no KV blocks, and will not until some free up."""
        self._group_tokens = group_tokens

    @property
    def decoding(self) -> int:
        """How many of the running ones have their prompt behind them."""
        return sum(sequence.decoding for sequence in self.running)

    def wanted(self, sequence: Sequence, *, computed: int | None = None) -> int:
        """Tokens the request would compute next, the budget left aside."""
        if sequence.decoding:
            return 1 + self.speculation.tokens
        tokens = sequence.target - (sequence.computed if computed is None else computed)
        threshold = self.settings.long_prefill_token_threshold
        alone = len(self.running) + len(self.waiting) == 1
        return min(tokens, threshold) if threshold and not alone else tokens

    def make_room(self, sequence: Sequence, tokens: int, plan: Plan) -> bool:
        """Allocate blocks for the tokens, preempting others; ``False`` if it was itself."""
        while not self.cache.allocate(self._blocks_missing(sequence, tokens)):
            if self.settings.scheduling_policy == "priority":
                victim = max(self.running, key=lambda s: s.urgency)
            else:
                victim = self.running[-1]
            self._preempt(victim, plan.take_back(victim))
            plan.preempted.append(victim)
            if victim is sequence:
                return False
        return True

    def cached_tokens_of(self, sequence: Sequence) -> int:
        """Leading tokens that need no computing; at least one token always does."""
        whole = (sequence.target - 1) // self._group_tokens
        return self._group_tokens * self.cache.cached(sequence.request.blocks[:whole])

    def admit(
        self,
        sequence: Sequence,
        tokens: int,
        plan: Plan,
        *,
        cached: int = 0,
        reserved: int = 0,
        needed: int = 0,
    ) -> bool:
        """Let a request start with this many tokens, unless the KV cache has no room.

        Args:
            cached: leading tokens of it that are in the cache.
            reserved: tokens for which blocks are taken at once, if more than it computes.
            needed: tokens for which blocks must be free, if more than are taken.
        """
        hits = cached // self._group_tokens
        shared = sequence.request.blocks[:hits]
        taken = blocks_for(max(cached + tokens, reserved)) - blocks_for(cached)
        free = max(taken, blocks_for(needed) - blocks_for(cached))
        if free + self.cache.idle_blocks(shared) > self.cache.available:
            self.refused = sequence
            return False
        self.cache.hold(shared)
        self.cache.allocate(taken)
        sequence.computed = cached
        sequence.reserved = reserved
        sequence.groups = hits
        self.cached_tokens += cached
        self.running.append(sequence)
        plan.grant(sequence, tokens)
        return True

    def book(self, plan: Plan, now_s: float) -> list[Sequence]:
        """Count what the step computed; the requests that got their last token, and are gone."""
        finished = []
        for sequence in [s for s in self.running if s in plan.tokens]:
            if sequence.decoding:
                self._decoded(sequence, plan.tokens[sequence])
            else:
                self._prefilled(sequence, plan.tokens[sequence], now_s)
            if sequence.outputs == sequence.request.output_tokens:
                sequence.finish_s = now_s
                if sequence.first_token_s is None:
                    sequence.first_token_s = now_s  # an answer that was sent whole
                self.running.remove(sequence)
                self._free(sequence)
                finished.append(sequence)
        return finished

    def _prefilled(self, sequence: Sequence, tokens: int, now_s: float) -> None:
        sequence.computed += tokens
        self._publish(sequence)
        if sequence.computed < sequence.target:
            return
        sequence.decoding = True
        sequence.outputs += 1
        if sequence.first_token_s is None:
            sequence.first_token_s = now_s

    def _decoded(self, sequence: Sequence, tokens: int) -> None:
        """Of the tokens, all but one were drafted; the blocks of those refused are given back."""
        luck = self.speculation
        drafted = accepted(
            tokens - 1, luck.acceptance, luck.seed, sequence.index, sequence.outputs
        )
        self.draft_tokens += tokens - 1
        self.accepted_draft_tokens += drafted
        produced = min(1 + drafted, sequence.request.output_tokens - sequence.outputs)
        held = max(sequence.computed + tokens, sequence.reserved)
        sequence.computed += produced
        sequence.outputs += produced
        kept = max(sequence.computed, sequence.reserved)
        self.cache.release(blocks_for(held) - blocks_for(kept))

    def _blocks_missing(self, sequence: Sequence, tokens: int) -> int:
        held = max(sequence.computed, sequence.reserved)
        return max(0, blocks_for(sequence.computed + tokens) - blocks_for(held))

    def _preempt(self, victim: Sequence, granted: int) -> None:
        """Take back everything, blocks granted in this very step included."""
        self.cache.release(self._blocks_missing(victim, granted))
        self.running.remove(victim)
        self._free(victim)
        victim.decoding = False
        victim.computed = 0
        victim.preemptions += 1
        self.preemptions += 1
        self.waiting.push(victim)

    def _publish(self, sequence: Sequence) -> None:
        """Share the prefix groups the request has computed so far."""
        groups = sequence.request.blocks
        while (
            sequence.groups < len(groups)
            and (sequence.groups + 1) * self._group_tokens <= sequence.computed
            and self.cache.publish(groups[sequence.groups])
        ):
            sequence.groups += 1
            self.refused = None

    def _free(self, sequence: Sequence) -> None:
        shared = sequence.groups * self._group_tokens
        held = max(sequence.computed, sequence.reserved)
        self.cache.release(blocks_for(held) - blocks_for(shared))
        self.cache.drop(sequence.request.blocks[: sequence.groups])
        sequence.groups = sequence.reserved = 0
        self.refused = None
