"""The waiting requests of a replica, and the gate that may hold them back until a batch fills."""

import heapq
import math
from itertools import count

from runners.simulated.sequence import Sequence
from runners.simulated.settings import SchedulerSettings

_Heap = list[tuple[tuple[float, float, int], Sequence]]


class WaitingQueue:
    """First come, first served with the preempted in front, or all of them by priority.

    The gate holds back those that have not run yet; preempted requests are never held.
    """

    def __init__(self, settings: SchedulerSettings) -> None:
        self._settings = settings
        self._timeout_s = settings.batch_wait_timeout_ms / 1000
        self._by_priority = settings.scheduling_policy == "priority"
        self._fresh: _Heap = []
        self._preempted: _Heap = []
        self._serial = count(1)
        self._static = settings.batch_policy == "static"
        self._joining = 0
        """Members of the static batch that still have to be admitted."""

    def __len__(self) -> int:
        return len(self._fresh) + len(self._preempted)

    def push(self, sequence: Sequence) -> None:
        """Queue a request that has not run yet, or one preempted just now."""
        serial = next(self._serial)
        if self._by_priority:
            place = sequence.urgency
        else:
            place = (-serial if sequence.preemptions else serial, 0.0, 0)
        heap = self._preempted if sequence.preemptions else self._fresh
        heapq.heappush(heap, (place, sequence))

    def head(self, *, gate_open: bool) -> Sequence | None:
        """Who is next; with the gate closed, of the preempted ones only."""
        heap = self._next(gate_open)
        return heap[0][1] if heap else None

    def pop(self, *, gate_open: bool) -> Sequence:
        heap = self._next(gate_open)
        self._joining -= heap is self._fresh
        return heapq.heappop(heap)[1]

    def _next(self, gate_open: bool) -> _Heap:
        fresh = gate_open and bool(self._fresh) and (self._joining > 0 or not self._static)
        if fresh and self._preempted:
            return min(self._fresh, self._preempted, key=lambda heap: heap[0][0])
        return self._fresh if fresh else self._preempted

    def form_batch(self) -> None:
        """Make those waiting now the next static batch; they may join over several steps.

        Not while a preempted member of the last one still waits.
        """
        if self._preempted:
            return
        self._joining = min(len(self._fresh), self._settings.max_num_seqs)

    def close_batch(self) -> None:
        """The KV cache holds no more: the batch is as it is."""
        self._joining = 0

    def opens_at_s(self, running: int) -> float:
        """When the gate lets requests through: now (0), at a deadline, or never by time alone.

        It opens once those waiting could fill the free slots, or are ``batch_wait_min_requests``,
        or once the oldest held has waited ``batch_wait_timeout_ms``. Under the static policy it
        lets a batch in, as it stood when nothing ran, and stays shut until all of it has finished.
        """
        if self._static and (running or self._preempted):
            return 0.0 if self._joining > 0 and self._fresh else math.inf
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
            return min((sequence.arrival_s for _, sequence in self._fresh), default=math.inf)
        return self._fresh[0][1].arrival_s if self._fresh else math.inf
