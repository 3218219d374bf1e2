"""A load run through the replicas of a deployment, from the first arrival to the last token."""

import heapq
import math
from collections.abc import Iterator
from collections.abc import Sequence as Listing
from dataclasses import dataclass

from objectives import Load, RequestResult
from objectives.workload import Watch
from runners.simulated.replica import Replica
from runners.simulated.sequence import Sequence

CHECKED = 16
"""Arrivals between two looks at whether a run may end."""


@dataclass(frozen=True, slots=True)
class Run:
    """What became of every request, and when it was over."""

    results: tuple[RequestResult, ...]
    duration_s: float


def simulate(load: Load, replicas: Listing[Replica]) -> Run:
    """Offer the load to the replicas, each request to the least loaded, as vLLM's balancer does.

    Deterministic. The run ends when every request has finished, or ``load.patience_s`` after the
    last arrival. `compiled/` does the same in a hundredth of the time.
    """
    sequences = _served(load, replicas)
    results = tuple(_result(sequence) for sequence in sequences)
    ends = [s.finish_s for s in sequences if s.finish_s is not None]
    if len(ends) < len(sequences):
        ends.append(min(max(s.arrival_s for s in sequences) + load.patience_s, _clock(replicas)))
    return Run(results, max(ends) - sequences[0].arrival_s)


def batches(requests: int, *, checked: bool) -> Iterator[tuple[int, int]]:
    """(first, one past the last) of those that arrive before the next look at the verdict."""
    size = CHECKED if checked else requests
    for first in range(0, requests, size):
        yield first, min(first + size, requests)


def _served(load: Load, replicas: Listing[Replica]) -> list[Sequence]:
    if load.workload.concurrency is not None:
        return _closed_loop(load, replicas)
    requests = load.workload.requests
    sequences = [Sequence(i, r, r.arrival_s) for i, r in enumerate(requests)]
    _open_loop(sequences, replicas, load)
    return sequences


def _clock(replicas: Listing[Replica]) -> float:
    return max(replica.now_s for replica in replicas)


def _open_loop(sequences: list[Sequence], replicas: Listing[Replica], load: Load) -> None:
    watch = load.watch() if load.watch else None
    for first, last in batches(len(sequences), checked=watch is not None):
        finished: list[Sequence] = []
        for sequence in sequences[first:last]:
            for replica in replicas:
                finished += replica.advance(sequence.arrival_s)
            min(replicas, key=lambda replica: replica.load).add(sequence)
        if watch and _over(watch, finished):
            return
    end_s = sequences[-1].arrival_s + load.patience_s
    for replica in replicas:
        replica.advance(end_s)
    _cut_off(sequences, end_s)


def _over(watch: Watch, finished: list[Sequence]) -> bool:
    """Whether the run may end here."""
    return any([watch.over(_result(s), s.finish_s) for s in finished if s.finish_s is not None])


def _closed_loop(load: Load, replicas: Listing[Replica]) -> list[Sequence]:
    """The next request is sent when one finishes.

    Replicas are stepped in order of their clocks, so that a request sent on one's account never
    reaches another in its past.
    """
    requests = load.workload.requests
    sends = [0.0] * min(load.workload.concurrency or 1, len(requests))
    sequences: list[Sequence] = []
    end_s = math.inf
    while sends or any(replica.busy for replica in replicas):
        behind = [r for r in replicas if r.busy and (not sends or r.now_s < sends[0])]
        if behind:
            replica = min(behind, key=lambda r: r.now_s)
            if replica.now_s >= end_s:
                break
            until_s = min(sends[0] if sends else math.inf, end_s)
            for finished in replica.advance(until_s, single_step=True):
                if finished.finish_s is not None:
                    heapq.heappush(sends, finished.finish_s)
            continue
        arrival_s = heapq.heappop(sends)
        if len(sequences) < len(requests):
            sequence = Sequence(len(sequences), requests[len(sequences)], arrival_s)
            sequences.append(sequence)
            min(replicas, key=lambda r: r.load).add(sequence)
            if len(sequences) == len(requests):
                end_s = arrival_s + load.patience_s
    _cut_off(sequences, end_s)
    return sequences


def _cut_off(sequences: list[Sequence], end_s: float) -> None:
    """What finished after the end has not finished."""
    for sequence in sequences:
        if sequence.finish_s is not None and sequence.finish_s > end_s:
            sequence.finish_s = None


def _result(sequence: Sequence) -> RequestResult:
    request = sequence.request
    unfinished = sequence.finish_s is None or sequence.first_token_s is None
    return RequestResult(
        arrival_s=sequence.arrival_s,
        input_tokens=request.input_tokens,
        output_tokens=request.output_tokens,
        ttft_ms=None
        if unfinished
        else 1000 * ((sequence.first_token_s or 0) - sequence.arrival_s),
        e2el_ms=None if unfinished else 1000 * ((sequence.finish_s or 0) - sequence.arrival_s),
        preemptions=sequence.preemptions,
    )
