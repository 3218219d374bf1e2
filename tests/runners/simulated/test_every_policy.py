"""What holds whatever the policy, the traffic and the size of the KV cache."""

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from itertools import pairwise

import pytest
from hypothesis import assume, given, settings

from runners.simulated.kv_cache import blocks_for
from runners.simulated.policies import LITERATURE
from runners.simulated.replica import Replica, StepEvent
from runners.simulated.scheduler import Scheduler
from runners.simulated.simulation import Run, simulate

from .cases import EVERY, GROUP_TOKENS, POLICIES, VLLM, Case, cases, uneven

Build = Callable[..., Replica]
PADDED = "static_batching", "static_batching, streaming"
RESERVING = *PADDED, "orca", "orca, oracle", "tgi", "tgi, short of tokens"
STALL_FREE = "orca", "orca, oracle", "sarathi"
BUDGETED = VLLM, "sarathi", "two_class", "adaptive"
CACHING = VLLM, "two_class", "adaptive"
TWO_HUNDRED = settings(max_examples=200)
"""A hundred on vLLM's policies, a hundred on those of the literature."""


def engine(
    build: Build, case: Case, observe: Callable[[StepEvent], None] | None = None
) -> Replica:
    return build(
        observe,
        policy=case.made,
        steps=uneven(case.slower),
        blocks=case.blocks,
        group_tokens=GROUP_TOKENS,
        prefix_caching=case.prefix_caching,
        **asdict(case.settings),
    )


def observed(build: Build, case: Case) -> tuple[Replica, list[StepEvent], Run]:
    log: list[StepEvent] = []
    served = engine(build, case, log.append)
    return served, log, simulate(case.load, [served])


def checked(build: Build, case: Case, check: Callable[[Scheduler, StepEvent], None]) -> None:
    """Serve the case, its scheduler looked at as each step ends, before it is booked."""
    served = engine(build, case, lambda event: check(served.scheduler, event))
    simulate(case.load, [served])


def ends_s(run: Run) -> list[float]:
    """Last token of every request."""
    return [result.arrival_s + (result.e2el_ms or 0) / 1000 for result in run.results]


def test_every_policy_is_tried() -> None:
    assert POLICIES.keys() >= LITERATURE.keys()


@TWO_HUNDRED
@given(case=EVERY)
def test_every_request_is_served_once_and_every_block_comes_back(
    replica: Build, case: Case
) -> None:
    served, _, run = observed(replica, case)
    assert [(r.arrival_s, r.input_tokens, r.output_tokens) for r in run.results] == [
        (r.arrival_s, r.input_tokens, r.output_tokens) for r in case.requests
    ]
    assert all(result.completed for result in run.results)
    assert not served.busy
    assert served.scheduler.cache.available == case.blocks


@TWO_HUNDRED
@given(case=cases() | cases(*(name for name in POLICIES if name not in PADDED)))
def test_every_token_is_computed_once_unless_cached_or_preempted(
    replica: Build, case: Case
) -> None:
    served, log, run = observed(replica, case)
    chunks = Counter[int]()
    for event in log:
        chunks.update(dict(event.prefills))
    decodes = Counter(index for event in log for index in event.decodes)
    caching = case.prefix_caching and case.policy in CACHING
    for index, (request, result) in enumerate(zip(case.requests, run.results, strict=True)):
        if not result.preemptions:
            assert decodes[index] == request.output_tokens - 1
        if not caching and result.preemptions:
            assert chunks[index] > request.input_tokens
        elif not caching:
            assert chunks[index] == request.input_tokens
    if not served.scheduler.preemptions:
        computed = sum(chunks.values()) + served.scheduler.cached_tokens
        assert computed == sum(r.input_tokens for r in case.requests)
    assert caching or served.scheduler.cached_tokens == 0


@given(case=cases(*PADDED))
def test_the_rows_of_a_padded_batch_are_equal(replica: Build, case: Case) -> None:
    _, log, run = observed(replica, case)
    ended_s = dict(enumerate(ends_s(run)))
    for event in log:
        assert len({tokens for _, tokens in event.prefills}) <= 1
        assert not (event.prefills and event.decodes)
    if case.policy == "static_batching":
        for batch in (event.prefills for event in log if event.prefills):
            together_s = [ended_s[index] for index, _ in batch]
            assert together_s == pytest.approx([together_s[0]] * len(batch))


@TWO_HUNDRED
@given(case=EVERY)
def test_no_step_goes_over_the_slots_the_tokens_or_the_kv_blocks(
    replica: Build, case: Case
) -> None:
    slots = 8 if case.policy == "adaptive" else case.settings.max_num_seqs

    def check(scheduler: Scheduler, event: StepEvent) -> None:
        granted = dict(event.prefills) | dict.fromkeys(event.decodes, 1)
        assert granted
        if case.policy in BUDGETED:
            assert sum(granted.values()) <= case.settings.max_num_batched_tokens
        assert len(scheduler.running) <= slots
        assert 0 <= scheduler.cache.available == case.blocks - held_blocks(scheduler, granted)

    checked(replica, case, check)


def held_blocks(scheduler: Scheduler, granted: dict[int, int]) -> int:
    """Blocks of everybody that runs, those of a shared prefix counted once."""
    own, shared = 0, set[int]()
    for sequence in scheduler.running:
        computed = sequence.computed + granted.get(sequence.index, 0)
        own += blocks_for(max(computed, sequence.reserved))
        own -= blocks_for(sequence.groups * GROUP_TOKENS)
        shared.update(sequence.request.blocks[: sequence.groups])
    return own + len(shared) * blocks_for(GROUP_TOKENS)


@TWO_HUNDRED
@given(case=EVERY)
def test_a_replica_with_work_it_may_do_is_never_idle(replica: Build, case: Case) -> None:
    """Work conservation."""
    assume(not case.settings.batch_wait_timeout_ms)
    _, log, run = observed(replica, case)
    assert log[0].start_s == case.requests[0].arrival_s
    stays_s = list(zip((r.arrival_s for r in run.results), ends_s(run), strict=True))
    for before, after in pairwise(log):
        if after.start_s > before.end_s:
            came = [end_s for arrival_s, end_s in stays_s if arrival_s < after.start_s]
            assert max(came) <= before.end_s + 1e-9


@TWO_HUNDRED
@given(case=EVERY)
def test_running_requests_are_those_admitted_and_not_finished(replica: Build, case: Case) -> None:
    """Little's law: the running, integrated over time, are the sum of their stays."""
    served, log, run = observed(replica, case)
    assume(not served.scheduler.preemptions)
    admitted_s: dict[int, float] = {}
    for event in log:
        for index, _ in event.prefills:
            admitted_s.setdefault(index, event.start_s)
    stays_s = [end_s - admitted_s[i] for i, end_s in enumerate(ends_s(run))]
    assert served.running_s == pytest.approx(sum(stays_s))


@TWO_HUNDRED
@given(case=EVERY)
def test_when_everything_takes_twice_as_long_every_latency_doubles(
    replica: Build, case: Case
) -> None:
    _, _, once = observed(replica, case)
    _, _, twice = observed(replica, case.longer(2))
    assert [r.ttft_ms for r in twice.results] == [2 * (r.ttft_ms or 0) for r in once.results]
    assert [r.e2el_ms for r in twice.results] == [2 * (r.e2el_ms or 0) for r in once.results]
    assert twice.duration_s == 2 * once.duration_s


@given(case=cases(*RESERVING))
def test_who_reserves_to_the_last_token_preempts_nobody(replica: Build, case: Case) -> None:
    served, _, _ = observed(replica, case)
    assert served.scheduler.preemptions == 0


@given(case=cases(*STALL_FREE))
def test_hybrid_batches_never_stall_a_decode(replica: Build, case: Case) -> None:
    def check(scheduler: Scheduler, event: StepEvent) -> None:
        decoding = tuple(s.index for s in scheduler.running if s.decoding)
        assert event.decodes == decoding

    checked(replica, case, check)


@given(case=cases("vllm_v0", "tgi", "tgi, short of tokens", *PADDED))
def test_prompts_and_decodes_never_share_a_step(replica: Build, case: Case) -> None:
    _, log, _ = observed(replica, case)
    assert all(bool(event.prefills) != bool(event.decodes) for event in log)


@TWO_HUNDRED
@given(case=EVERY)
def test_the_same_run_twice_is_the_same(replica: Build, case: Case) -> None:
    first, log, run = observed(replica, case)
    second, again, rerun = observed(replica, case)
    assert (log, run, first.busy_s) == (again, rerun, second.busy_s)
