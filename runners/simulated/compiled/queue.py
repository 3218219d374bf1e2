"""`queue.py` over records: who is next, and the gate."""

import numpy as np

from runners.simulated.compiled.jit import jit
from runners.simulated.compiled.state import (
    DECODE_FIRST,
    NOBODY,
    STATIC,
    Ints,
    Limits,
    Records,
    State,
)


@jit
def earlier(sequences: Records, by_priority: bool, one: int, other: int) -> bool:
    """Whether one is served before the other."""
    a, b = sequences[one], sequences[other]
    if not by_priority:
        return a.place < b.place
    if a.priority != b.priority:
        return a.priority < b.priority
    if a.arrival_s != b.arrival_s:
        return a.arrival_s < b.arrival_s
    return one < other


@jit
def _push(sequences: Records, by_priority: bool, heap: Ints, size: int, one: int) -> None:
    at = size
    heap[at] = one
    while at:
        above = (at - 1) // 2
        if not earlier(sequences, by_priority, heap[at], heap[above]):
            return
        heap[at], heap[above] = heap[above], heap[at]
        at = above


@jit
def pop(sequences: Records, by_priority: bool, heap: Ints, size: int) -> None:
    """Take the first one out of a heap of that size."""
    size -= 1
    heap[0] = heap[size]
    at = 0
    while True:
        least = at
        for below in (2 * at + 1, 2 * at + 2):
            if below < size and earlier(sequences, by_priority, heap[below], heap[least]):
                least = below
        if least == at:
            return
        heap[at], heap[least] = heap[least], heap[at]
        at = least


@jit
def enqueue(state: State, limits: Limits, r: int, one: int) -> None:
    """Queue a request that has not run yet, or one preempted just now."""
    replica, sequence = state.replicas[r], state.sequences[one]
    replica.serial += 1
    if sequence.preemptions:
        sequence.place = -replica.serial
        heap, size = state.preempted[r], replica.preempted
        replica.preempted += 1
    else:
        sequence.place = replica.serial
        heap, size = state.fresh[r], replica.fresh
        replica.fresh += 1
    _push(state.sequences, limits.by_priority, heap, size, one)


@jit
def fresh_is_next(state: State, limits: Limits, r: int, gate_open: bool) -> bool:
    """Whether the head is one that has not run yet."""
    replica = state.replicas[r]
    joins = limits.policy != STATIC or replica.joining > 0
    if not (gate_open and replica.fresh and joins):
        return False
    if not replica.preempted:
        return True
    return earlier(state.sequences, limits.by_priority, state.fresh[r, 0], state.preempted[r, 0])


@jit
def head(state: State, limits: Limits, r: int, gate_open: bool) -> int:
    """Who is next; with the gate closed, of the preempted ones only."""
    if fresh_is_next(state, limits, r, gate_open):
        return state.fresh[r, 0]
    return state.preempted[r, 0] if state.replicas[r].preempted else NOBODY


@jit
def opens_at_s(state: State, limits: Limits, r: int) -> float:
    """When the gate lets requests through, as ``WaitingQueue.opens_at_s``."""
    replica = state.replicas[r]
    if limits.policy == STATIC and (replica.running or replica.preempted):
        return 0.0 if replica.joining > 0 and replica.fresh else np.inf
    if not limits.timeout_s:
        return 0.0
    free = max(1, limits.max_num_seqs - replica.running)
    if replica.fresh + replica.preempted >= min(free, limits.wanted):
        return 0.0
    oldest_s = np.inf
    if limits.by_priority:
        for place in range(replica.fresh):
            oldest_s = min(oldest_s, state.sequences[state.fresh[r, place]].arrival_s)
    elif replica.fresh:
        oldest_s = state.sequences[state.fresh[r, 0]].arrival_s
    return oldest_s + limits.timeout_s


@jit
def admission_s(state: State, limits: Limits, r: int, opens_s: float) -> float:
    """When a waiting request may next be admitted, as ``VllmV1.admission_s``."""
    replica = state.replicas[r]
    if not replica.fresh + replica.preempted or replica.running >= limits.max_num_seqs:
        return np.inf
    if limits.policy == DECODE_FIRST and replica.decoding:
        return np.inf
    if opens_s > replica.now_s:
        first = head(state, limits, r, False)
        if first != NOBODY and first != replica.refused:
            return replica.now_s
    first = head(state, limits, r, True)
    return np.inf if first != NOBODY and first == replica.refused else opens_s
