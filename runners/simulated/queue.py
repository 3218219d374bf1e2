"""The waiting requests of a replica, and the gate that may hold them back until a batch fills."""

import heapq
import math
from collections import deque

from runners.simulated.sequence import Sequence
from runners.simulated.settings import SchedulerSettings


class WaitingQueue:
    """First come, first served, or by priority; preempted requests come first either way."""

    def __init__(self, settings: SchedulerSettings) -> None:
        self._settings = settings
        self._timeout_s = settings.batch_wait_timeout_ms / 1000
        self._by_priority = settings.scheduling_policy == "priority"
        self._fifo: deque[Sequence] = deque()
        self._heap: list[tuple[tuple[int, float, int], Sequence]] = []

    def __len__(self) -> int:
        return len(self._heap) if self._by_priority else len(self._fifo)

    @property
    def head(self) -> Sequence:
        return self._heap[0][1] if self._by_priority else self._fifo[0]

    def push(self, sequence: Sequence) -> None:
        if self._by_priority:
            heapq.heappush(self._heap, (sequence.urgency, sequence))
        else:
            self._fifo.append(sequence)

    def push_preempted(self, sequence: Sequence) -> None:
        if self._by_priority:
            heapq.heappush(self._heap, (sequence.urgency, sequence))
        else:
            self._fifo.appendleft(sequence)

    def pop(self) -> Sequence:
        return heapq.heappop(self._heap)[1] if self._by_priority else self._fifo.popleft()

    def opens_at_s(self, running: int) -> float:
        """When waiting requests may be admitted: now (0), at a deadline, or never by time alone.

        They are admitted once they could fill the free slots, or ``batch_wait_min_requests`` of
        them, or once the oldest has waited ``batch_wait_timeout_ms``. Preempted requests are never
        held. Under the static policy nothing is admitted while anything runs.
        """
        if self.head.preemptions:
            return 0.0
        if self._settings.batch_policy == "static" and running:
            return math.inf
        if not self._timeout_s:
            return 0.0
        free = max(1, self._settings.max_num_seqs - running)
        wanted = self._settings.batch_wait_min_requests or self._settings.max_num_seqs
        if len(self) >= min(free, wanted):
            return 0.0
        return self._oldest_s + self._timeout_s

    @property
    def _oldest_s(self) -> float:
        if self._by_priority:
            return min(sequence.arrival_s for _, sequence in self._heap)
        return self._fifo[0].arrival_s
