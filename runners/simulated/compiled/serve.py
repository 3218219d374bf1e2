"""A load served by compiled replicas: arrays made, loops called, results read."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np

from objectives import Load, RequestResult, Workload
from objectives.workload import Watch
from runners.simulated.compiled.loop import drain, offer, offer_closed
from runners.simulated.compiled.speculation import Model
from runners.simulated.compiled.state import (
    CONTINUOUS,
    DECODE_FIRST,
    NOBODY,
    PREFILL_FIRST,
    REPLICA,
    SEQUENCE,
    STATIC,
    Cache,
    Ints,
    Limits,
    Records,
    State,
)
from runners.simulated.kv_cache import BLOCK_TOKENS
from runners.simulated.settings import SchedulerSettings
from runners.simulated.simulation import Run, batches

POLICIES = {
    "continuous": CONTINUOUS,
    "prefill_first": PREFILL_FIRST,
    "decode_first": DECODE_FIRST,
    "static": STATIC,
}


def limits_of(
    settings: SchedulerSettings, *, group_tokens: int, prefix_caching: bool, drafted: int = 0
) -> Limits:
    return Limits(
        max_num_seqs=settings.max_num_seqs,
        max_num_batched_tokens=settings.max_num_batched_tokens,
        long_prefill_token_threshold=settings.long_prefill_token_threshold,
        chunked=settings.enable_chunked_prefill,
        by_priority=settings.scheduling_policy == "priority",
        policy=POLICIES[settings.batch_policy],
        timeout_s=settings.batch_wait_timeout_ms / 1000,
        wanted=settings.batch_wait_min_requests or settings.max_num_seqs,
        group_tokens=group_tokens,
        group_blocks=group_tokens // BLOCK_TOKENS,
        prefix_caching=prefix_caching,
        drafted=drafted,
    )


@dataclass(frozen=True, slots=True)
class Totals:
    """What the replicas did in one run, summed over them."""

    busy_s: float
    running_s: float
    """Integral of the number of running requests over busy time."""
    communication_s: float
    """Of the busy time, that of all-reduces."""
    steps: int
    preemptions: int
    cached_tokens: int
    prompt_tokens: int
    """Computed, those of recomputed requests again; so are the others."""
    decode_tokens: int
    prefill_kv_tokens: int
    """Tokens that prompt chunks found in the cache, summed over steps."""
    prefill_pairs: int
    """Pairs of tokens that attention over prompts multiplied."""
    decode_kv_tokens: int
    draft_tokens: int
    accepted_draft_tokens: int
    """Those past the end of an answer too, as vLLM counts them."""


def serve(
    load: Load, limits: Limits, model: Model, *, replicas: int, blocks: int
) -> tuple[Run, Totals]:
    """As ``simulate`` with replicas of one config; ``blocks`` are of each one's KV cache."""
    state = _at_first(load.workload, limits, replicas=replicas, blocks=blocks)
    end_s = _offered(load, state, limits, model)
    sequences = state.sequences
    sequences["finish_s"][sequences["finish_s"] > end_s] = np.nan
    finish_s = sequences["finish_s"]
    unfinished = np.isnan(finish_s)
    ends_s = [] if unfinished.all() else [float(finish_s[~unfinished].max())]
    if unfinished.any():
        last_s = float(sequences["arrival_s"].max()) + load.patience_s
        ends_s.append(min(last_s, float(state.replicas["now_s"].max())))
    duration_s = max(ends_s) - float(sequences["arrival_s"][0])
    return Run(_results(sequences), duration_s), _totals(state.replicas)


def _offered(load: Load, state: State, limits: Limits, model: Model) -> float:
    """Run the load; when what has not finished has missed."""
    number = len(state.sequences)
    if load.workload.concurrency is not None:
        slots = min(load.workload.concurrency, number)
        return offer_closed(state, limits, model, slots, float(load.patience_s))
    watch = load.watch() if load.watch else None
    for first, last in batches(number, checked=watch is not None):
        heard = int(state.finished_number[0])
        offer(state, limits, model, first, last)
        finished = state.sequences[state.finished[heard : state.finished_number[0]]]
        if watch and _over(watch, finished):
            return math.inf
    end_s = float(state.sequences["arrival_s"][-1] + load.patience_s)
    drain(state, limits, model, end_s)
    return end_s


def _over(watch: Watch, finished: Records) -> bool:
    told = zip(_results(finished), finished["finish_s"].tolist(), strict=True)
    return any([watch.over(result, finish_s) for result, finish_s in told])


def _results(sequences: Records) -> tuple[RequestResult, ...]:
    arrival_s, finish_s = sequences["arrival_s"], sequences["finish_s"]
    columns = zip(
        arrival_s.tolist(),
        sequences["input_tokens"].tolist(),
        sequences["output_tokens"].tolist(),
        (1000 * (sequences["first_token_s"] - arrival_s)).tolist(),
        (1000 * (finish_s - arrival_s)).tolist(),
        sequences["preemptions"].tolist(),
        np.isnan(finish_s).tolist(),
        strict=True,
    )
    return tuple(
        RequestResult(at_s, prompt, answer, preemptions=preemptions)
        if unfinished
        else RequestResult(at_s, prompt, answer, ttft_ms, e2el_ms, preemptions)
        for at_s, prompt, answer, ttft_ms, e2el_ms, preemptions, unfinished in columns
    )


def _totals(replicas: Records) -> Totals:
    return Totals(**{field.name: sum(replicas[field.name].tolist()) for field in fields(Totals)})


def _at_first(workload: Workload, limits: Limits, *, replicas: int, blocks: int) -> State:
    number = len(workload.requests)
    records = np.zeros(replicas, dtype=REPLICA)
    records["available"] = blocks
    records["refused"] = NOBODY
    return State(
        sequences=_sequences(workload),
        replicas=records,
        running=_zeros(replicas, min(limits.max_num_seqs, number)),
        fresh=_zeros(replicas, number),
        preempted=_zeros(replicas, number),
        cache=_cache(workload, replicas),
        finished=_zeros(number),
        finished_number=_zeros(1),
    )


def _sequences(workload: Workload) -> Records:
    requests = workload.requests
    records = np.zeros(len(requests), dtype=SEQUENCE)
    for name in ("arrival_s", "input_tokens", "output_tokens", "priority"):
        records[name] = [getattr(request, name) for request in requests]
    records["end_group"] = np.cumsum([len(request.blocks) for request in requests])
    records["first_group"][1:] = records["end_group"][:-1]
    records["first_token_s"] = records["finish_s"] = np.nan
    return records


def _cache(workload: Workload, replicas: int) -> Cache:
    """Nothing cached yet, the groups numbered from 0."""
    blocks = [block for request in workload.requests for block in request.blocks]
    names, groups = np.unique(np.array(blocks, dtype=np.int64), return_inverse=True)
    ring = np.full((replicas, len(names) + 1), NOBODY, dtype=np.int64)
    ring[:, -1] = len(names)  # an empty ring: its anchor alone
    new = [first for request in workload.requests for first in _first_time(request.blocks)]
    return Cache(
        groups=groups.astype(np.int64),
        first_time=np.array(new, dtype=np.int64),
        held=_zeros(replicas, len(names)),
        before=ring,
        after=ring.copy(),
    )


def _first_time(blocks: tuple[int, ...]) -> Iterator[bool]:
    seen: set[int] = set()
    for block in blocks:
        yield block not in seen
        seen.add(block)


def _zeros(*shape: int) -> Ints:
    return np.zeros(shape, dtype=np.int64)
