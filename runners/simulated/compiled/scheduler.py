"""`scheduler.py` and vLLM V1's policy over records: one step planned, timed and booked."""

import numpy as np

from runners.simulated.compiled.jit import jit
from runners.simulated.compiled.kv_cache import (
    blocks_for,
    cached_groups,
    evict,
    free,
    publish,
    take,
)
from runners.simulated.compiled.queue import (
    admission_s,
    earlier,
    enqueue,
    fresh_is_next,
    head,
    opens_at_s,
    pop,
)
from runners.simulated.compiled.speculation import Model, accepted, draft_ms
from runners.simulated.compiled.state import (
    DECODE_FIRST,
    NOBODY,
    PREFILL_FIRST,
    Limits,
    Record,
    State,
)
from runners.simulated.compiled.steps import communication_ms, step_ms


@jit
def _wanted(replica: Record, sequence: Record, limits: Limits, computed: int) -> int:
    """Prompt tokens the request would compute next, the budget left aside."""
    tokens = sequence.input_tokens + sequence.outputs - computed
    threshold = limits.long_prefill_token_threshold
    if threshold and replica.running + replica.fresh + replica.preempted > 1:
        return min(tokens, threshold)
    return tokens


@jit
def _victim(state: State, limits: Limits, r: int) -> int:
    running, last = state.running[r], state.replicas[r].running - 1
    victim = running[last]
    if limits.by_priority:
        for place in range(last):
            if earlier(state.sequences, True, victim, running[place]):
                victim = running[place]
    return victim


@jit
def _preempt(state: State, limits: Limits, r: int, one: int) -> tuple[int, int]:
    """Take everything back; (its place among the running, tokens granted in this very step)."""
    replica, sequence, running = state.replicas[r], state.sequences[one], state.running[r]
    granted, computed = sequence.granted, sequence.computed
    sequence.granted = 0
    replica.available += blocks_for(computed + granted) - blocks_for(computed)
    place = 0
    while running[place] != one:
        place += 1
    replica.running -= 1
    for at in range(place, replica.running):
        running[at] = running[at + 1]
    replica.decoding -= sequence.decoding
    sequence.decoding = 0
    free(state.cache, replica, sequence, limits, r)
    sequence.computed = 0
    sequence.preemptions += 1
    replica.preemptions += 1
    enqueue(state, limits, r, one)
    return place, granted


@jit
def _schedule_running(
    state: State, limits: Limits, r: int, decodes: bool, prefills: bool
) -> tuple[int, bool]:
    """Grant tokens to the running in order of admission; (budget left, whether all fitted)."""
    replica, sequences, running = state.replicas[r], state.sequences, state.running[r]
    budget, at, fitted = limits.max_num_batched_tokens, 0, True
    while at < replica.running and budget > 0:
        one = running[at]
        sequence = sequences[one]
        if not (decodes if sequence.decoding else prefills):
            at += 1
            continue
        if sequence.decoding:
            tokens = min(budget, 1 + limits.drafted)
        else:
            tokens = min(budget, _wanted(replica, sequence, limits, sequence.computed))
        need = blocks_for(sequence.computed + tokens) - blocks_for(sequence.computed)
        victim = NOBODY
        while need > replica.available and victim != one:
            fitted = False
            victim = _victim(state, limits, r)
            place, granted = _preempt(state, limits, r, victim)
            budget += granted
            at -= place < at
        if victim == one:
            break
        replica.available -= need
        if replica.idle:
            evict(state.cache, replica, r, limits.group_blocks)
        sequence.granted = tokens
        budget -= tokens
        at += 1
    return budget, fitted


@jit
def _admit(state: State, limits: Limits, r: int, budget: int, gate_open: bool) -> None:
    replica = state.replicas[r]
    while budget > 0 and replica.running < limits.max_num_seqs:
        one = head(state, limits, r, gate_open)
        if one == NOBODY:
            return
        sequence, hits = state.sequences[one], 0
        if limits.prefix_caching:
            hits = cached_groups(state.cache, sequence, r, limits.group_tokens)
        computed = hits * limits.group_tokens
        tokens = _wanted(replica, sequence, limits, computed)
        if tokens > budget and not limits.chunked:
            return
        tokens = min(tokens, budget)
        if not take(state.cache, replica, sequence, limits, r, hits, tokens):
            replica.joining = 0
            replica.refused = one
            return
        _dequeue(state, limits, r, gate_open)
        sequence.computed = computed
        sequence.shared = hits
        sequence.granted = tokens
        replica.cached_tokens += computed
        state.running[r, replica.running] = one
        replica.running += 1
        budget -= tokens


@jit
def _dequeue(state: State, limits: Limits, r: int, gate_open: bool) -> None:
    replica = state.replicas[r]
    if fresh_is_next(state, limits, r, gate_open):
        replica.joining -= 1
        pop(state.sequences, limits.by_priority, state.fresh[r], replica.fresh)
        replica.fresh -= 1
    else:
        pop(state.sequences, limits.by_priority, state.preempted[r], replica.preempted)
        replica.preempted -= 1


@jit
def plan(state: State, limits: Limits, r: int) -> None:
    """Grant the next step's tokens, as ``VllmV1.plan``."""
    replica = state.replicas[r]
    opens_s = opens_at_s(state, limits, r)
    admit = admission_s(state, limits, r, opens_s) <= replica.now_s
    gate_open = opens_s <= replica.now_s
    if gate_open and not replica.running and not replica.preempted:
        replica.joining = min(replica.fresh, limits.max_num_seqs)
    prefilling = replica.running > replica.decoding
    hide_decodes = limits.policy == PREFILL_FIRST and (prefilling or admit)
    hide_prefills = limits.policy == DECODE_FIRST and replica.decoding > 0
    budget, fitted = _schedule_running(state, limits, r, not hide_decodes, not hide_prefills)
    if admit and fitted:
        _admit(state, limits, r, budget, gate_open)
    if hide_decodes:
        for place in range(replica.running):
            if state.sequences[state.running[r, place]].granted:
                return
        _schedule_running(state, limits, r, True, True)


@jit
def elapsed_s(state: State, model: Model, r: int) -> float:
    """How long the granted step takes; counts what it computes."""
    replica, sequences, running = state.replicas[r], state.sequences, state.running[r]
    prefills = prefill_tokens = prefill_kv = pairs = decodes = decode_kv = drafted = 0
    for place in range(replica.running):
        sequence = sequences[running[place]]
        tokens, computed = sequence.granted, sequence.computed
        if tokens and sequence.decoding:
            decodes += 1
            drafted += tokens - 1
            decode_kv += computed
        elif tokens:
            prefills += 1
            prefill_tokens += tokens
            prefill_kv += computed
            pairs += tokens * (2 * computed + tokens + 1) // 2
    if not prefills and not decodes:
        return 0.0
    replica.steps += 1
    replica.prompt_tokens += prefill_tokens
    replica.decode_tokens += decodes + drafted
    replica.prefill_kv_tokens += prefill_kv
    replica.prefill_pairs += pairs
    replica.decode_kv_tokens += decode_kv
    ms = step_ms(model.steps, prefills, prefill_tokens, prefill_kv, decodes, decode_kv, drafted)
    ms += draft_ms(model.speculation, prefills, prefill_tokens, prefill_kv, decodes, decode_kv)
    tokens = prefill_tokens + decodes + drafted
    replica.communication_s += communication_ms(model.steps, tokens) / 1000
    return ms / 1000


@jit
def compute(state: State, limits: Limits, model: Model, r: int) -> None:
    """Book the granted tokens; let those go that have got their last one."""
    replica, sequences, running = state.replicas[r], state.sequences, state.running[r]
    acceptance, seed = model.speculation.acceptance, model.speculation.seed
    kept, ran = 0, replica.running
    for place in range(ran):
        one = running[place]
        sequence = sequences[one]
        tokens = sequence.granted
        sequence.granted = 0
        if tokens and sequence.decoding:
            drafted = tokens - 1
            if drafted:
                replica.draft_tokens += drafted
                drafted = accepted(drafted, acceptance, seed, one, sequence.outputs)
                replica.accepted_draft_tokens += drafted
            _decoded(replica, sequence, tokens, 1 + drafted)
        elif tokens:
            _prefilled(state, limits, r, one, tokens)
        if sequence.outputs < sequence.output_tokens:
            running[kept] = one
            kept += 1
            continue
        replica.decoding -= sequence.decoding
        sequence.finish_s = replica.now_s
        state.finished[state.finished_number[0]] = one
        state.finished_number[0] += 1
        free(state.cache, replica, sequence, limits, r)
    replica.running = kept


@jit
def _prefilled(state: State, limits: Limits, r: int, one: int, tokens: int) -> None:
    replica, sequence = state.replicas[r], state.sequences[one]
    sequence.computed += tokens
    if limits.prefix_caching:
        publish(state.cache, replica, sequence, r, limits.group_tokens)
    if sequence.computed < sequence.input_tokens + sequence.outputs:
        return
    sequence.decoding = 1
    replica.decoding += 1
    sequence.outputs += 1
    if np.isnan(sequence.first_token_s):
        sequence.first_token_s = replica.now_s


@jit
def _decoded(replica: Record, sequence: Record, tokens: int, produced: int) -> None:
    """Of the tokens, all but one were drafted; the blocks of those refused are given back."""
    produced = min(produced, sequence.output_tokens - sequence.outputs)
    held = blocks_for(sequence.computed + tokens)
    sequence.computed += produced
    sequence.outputs += produced
    replica.available += held - blocks_for(sequence.computed)
