"""Sequences in their decode phase, advanced together in constant time per step.

All of them get one token every step, so when each finishes and when each needs its next KV block
is known the moment it joins; nothing is walked per step.
"""

import heapq

from runners.simulated.kv_cache import BLOCK_TOKENS
from runners.simulated.sequence import Sequence


class DecodeSet:
    """Decoding sequences; ``step`` counts the decode steps made."""

    def __init__(self) -> None:
        self.step = 0
        self.count = 0
        self.kv_tokens = 0
        self._due = [0] * BLOCK_TOKENS
        self._finishing: list[tuple[int, int, Sequence]] = []

    @property
    def blocks_due(self) -> int:
        """KV blocks the next step needs: one per sequence whose last block is full."""
        return self._due[self.step % BLOCK_TOKENS]

    @property
    def next_finish(self) -> int:
        """The value of ``step`` at which the next sequence finishes."""
        while self._finishing and self._stale(self._finishing[0]):
            heapq.heappop(self._finishing)
        return self._finishing[0][0]

    def add(self, sequence: Sequence) -> None:
        """Let a sequence decode from the next step on."""
        left = sequence.request.output_tokens - sequence.outputs
        sequence.kv_base = sequence.computed - self.step
        sequence.finish_step = self.step + left
        self._due[-sequence.kv_base % BLOCK_TOKENS] += 1
        self.kv_tokens += sequence.computed
        self.count += 1
        heapq.heappush(self._finishing, (sequence.finish_step, sequence.order, sequence))

    def remove(self, sequence: Sequence) -> None:
        """Take a sequence out, its ``computed`` and ``outputs`` brought up to date."""
        self._due[-sequence.kv_base % BLOCK_TOKENS] -= 1
        sequence.computed = sequence.kv_base + self.step
        sequence.outputs = sequence.request.output_tokens - (sequence.finish_step - self.step)
        self.kv_tokens -= sequence.computed
        self.count -= 1
        sequence.finish_step = -1

    def computed(self, sequence: Sequence) -> int:
        """Tokens of the sequence in the KV cache."""
        return sequence.kv_base + self.step

    def advance(self, steps: int = 1) -> None:
        """One token more for everybody, ``steps`` times."""
        self.step += steps
        self.kv_tokens += steps * self.count

    def pop_finished(self) -> list[Sequence]:
        """Sequences that got their last token, in order of admission."""
        finished = []
        while self._finishing and (
            self._stale(self._finishing[0]) or self._finishing[0][0] <= self.step
        ):
            entry = heapq.heappop(self._finishing)
            if not self._stale(entry):
                self.remove(entry[2])
                finished.append(entry[2])
        return finished

    @staticmethod
    def _stale(entry: tuple[int, int, Sequence]) -> bool:
        return entry[2].finish_step != entry[0]
