"""What holds under every policy of the literature, whatever the traffic and the KV cache."""

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from objectives import Load, Request, Workload
from runners.simulated.kv_cache import blocks_for
from runners.simulated.policies import (
    LITERATURE,
    TGI,
    Adaptive,
    Orca,
    Policy,
    Sarathi,
    StaticBatching,
    TwoClass,
    VllmV0,
)
from runners.simulated.replica import Replica, StepEvent
from runners.simulated.scheduler import Scheduler
from runners.simulated.settings import SchedulerSettings
from runners.simulated.simulation import Run, simulate
from runners.simulated.step_time import StepTime

Build = Callable[..., Replica]
Uneven = Callable[..., StepTime]
GROUP_TOKENS = 32
LONGEST_TOKENS = 150 + 60
MADE: dict[str, Callable[[], Policy]] = {
    "vllm_v0": lambda: VllmV0(max_model_len=LONGEST_TOKENS),
    "orca": lambda: Orca(max_model_len=LONGEST_TOKENS),
    "sarathi": Sarathi,
    "static_batching": StaticBatching,
    "tgi": lambda: TGI(waiting_served_ratio=0.5, max_waiting_tokens=5),
    "two_class": lambda: TwoClass(interactive_requests=2, batch_requests=3),
    "adaptive": lambda: Adaptive(target_ms=100, max_requests=8, window=2),
    "orca, oracle": Orca,
    "static_batching, streaming": lambda: StaticBatching(streaming=True),
    "tgi, short of tokens": lambda: TGI(max_batch_prefill_tokens=160, max_batch_total_tokens=300),
}
PADDED = "static_batching", "static_batching, streaming"
RESERVING = *PADDED, "orca", "orca, oracle", "tgi", "tgi, short of tokens"
STALL_FREE = "orca", "orca, oracle", "sarathi"
CACHING = "two_class", "adaptive"


@dataclass(frozen=True)
class Case:
    policy: str
    requests: tuple[Request, ...]
    settings: SchedulerSettings
    blocks: int
    prefix_caching: bool


requests_st = st.builds(
    Request,
    arrival_s=st.floats(0, 0.4),
    input_tokens=st.integers(1, 150),
    output_tokens=st.integers(1, 60),
    priority=st.integers(0, 2),
    blocks=st.lists(st.integers(1, 3), max_size=4).map(tuple),
)
settings_st = st.builds(
    SchedulerSettings,
    max_num_seqs=st.integers(1, 8),
    max_num_batched_tokens=st.integers(8, 128) | st.integers(LONGEST_TOKENS, 600),
    long_prefill_token_threshold=st.sampled_from([0, 0, 16, 50]),
    scheduling_policy=st.sampled_from(["fcfs", "priority"]),
    batch_wait_timeout_ms=st.sampled_from([0.0, 0.0, 20.0, 100.0]),
)


@st.composite
def cases(draw: st.DrawFn, policies: tuple[str, ...] = tuple(MADE)) -> Case:
    policy, settings = draw(st.sampled_from(policies)), draw(settings_st)
    if policy == "two_class":
        settings = replace(settings, scheduling_policy="priority")
    drawn = draw(st.lists(requests_st, min_size=1, max_size=12))
    requests = [
        replace(r, blocks=r.blocks[: r.input_tokens // GROUP_TOKENS])
        for r in sorted(drawn, key=lambda r: r.arrival_s)
    ]
    blocks = blocks_for(LONGEST_TOKENS) + draw(st.integers(0, 10) | st.just(1000))
    return Case(policy, tuple(requests), settings, blocks, draw(st.booleans()))


def observed(
    under: Build,
    case: Case,
    steps: StepTime,
    check: Callable[[Scheduler, StepEvent], None] | None = None,
) -> tuple[Replica, list[StepEvent], Run]:
    log: list[StepEvent] = []

    def observe(event: StepEvent) -> None:
        log.append(event)
        if check:
            check(served.scheduler, event)

    served = under(
        MADE[case.policy](),
        observe,
        steps=steps,
        blocks=case.blocks,
        group_tokens=GROUP_TOKENS,
        prefix_caching=case.prefix_caching,
        **asdict(case.settings),
    )
    run = simulate(Load(workload=Workload(name="t", requests=case.requests)), [served])
    return served, log, run


def ends_s(run: Run) -> list[float]:
    return [result.arrival_s + (result.e2el_ms or 0) / 1000 for result in run.results]


def test_every_policy_is_tried() -> None:
    assert MADE.keys() >= LITERATURE.keys()


@given(case=cases())
def test_every_request_is_served_once_and_every_block_comes_back(
    under: Build, uneven: Uneven, case: Case
) -> None:
    served, _, run = observed(under, case, uneven())
    assert [(r.arrival_s, r.input_tokens, r.output_tokens) for r in run.results] == [
        (r.arrival_s, r.input_tokens, r.output_tokens) for r in case.requests
    ]
    assert all(result.completed for result in run.results)
    assert not served.busy
    assert served.scheduler.cache.available == case.blocks


@given(case=cases())
def test_every_token_is_computed_once_unless_preempted(
    under: Build, uneven: Uneven, case: Case
) -> None:
    assume(case.policy not in PADDED)
    served, log, run = observed(under, case, uneven())
    cached = case.prefix_caching and case.policy in CACHING
    chunks = Counter[int]()
    for event in log:
        chunks.update(dict(event.prefills))
    decodes = Counter(index for event in log for index in event.decodes)
    for index, (request, result) in enumerate(zip(case.requests, run.results, strict=True)):
        if not result.preemptions:
            assert decodes[index] == request.output_tokens - 1
        if cached:
            continue
        if result.preemptions:
            assert chunks[index] > request.input_tokens
        else:
            assert chunks[index] == request.input_tokens
    assert served.scheduler.cached_tokens == 0 or case.policy in CACHING


@given(case=cases(PADDED))
def test_the_rows_of_a_padded_batch_are_equal(under: Build, uneven: Uneven, case: Case) -> None:
    _, log, run = observed(under, case, uneven())
    ended_s = dict(enumerate(ends_s(run)))
    for event in log:
        assert len({tokens for _, tokens in event.prefills}) <= 1
        assert not (event.prefills and event.decodes)
    if case.policy == "static_batching":
        for batch in (event.prefills for event in log if event.prefills):
            together_s = [ended_s[index] for index, _ in batch]
            assert together_s == pytest.approx([together_s[0]] * len(batch))


@given(case=cases())
def test_no_step_goes_over_the_slots_or_the_kv_blocks(
    under: Build, uneven: Uneven, case: Case
) -> None:
    slots = 8 if case.policy == "adaptive" else case.settings.max_num_seqs

    def check(scheduler: Scheduler, event: StepEvent) -> None:
        granted = dict(event.prefills) | dict.fromkeys(event.decodes, 1)
        assert granted
        assert len(scheduler.running) <= slots
        assert 0 <= scheduler.cache.available == case.blocks - held_blocks(scheduler, granted)

    observed(under, case, uneven(), check)


def held_blocks(scheduler: Scheduler, granted: dict[int, int]) -> int:
    """Blocks of everybody that runs, those of a shared prefix counted once."""
    own, shared = 0, set[int]()
    for sequence in scheduler.running:
        computed = sequence.computed + granted.get(sequence.index, 0)
        own += blocks_for(max(computed, sequence.reserved))
        own -= blocks_for(sequence.groups * GROUP_TOKENS)
        shared.update(sequence.request.blocks[: sequence.groups])
    return own + len(shared) * blocks_for(GROUP_TOKENS)


@given(case=cases(("sarathi", "two_class", "adaptive")))
def test_chunked_steps_stay_within_the_token_budget(
    under: Build, uneven: Uneven, case: Case
) -> None:
    _, log, _ = observed(under, case, uneven())
    for event in log:
        tokens = sum(tokens for _, tokens in event.prefills) + len(event.decodes)
        assert tokens <= case.settings.max_num_batched_tokens


@given(case=cases())
def test_a_replica_with_work_it_may_do_is_never_idle(
    under: Build, uneven: Uneven, case: Case
) -> None:
    assume(not case.settings.batch_wait_timeout_ms)
    _, log, run = observed(under, case, uneven())
    assert log[0].start_s == case.requests[0].arrival_s
    stays_s = list(zip((r.arrival_s for r in run.results), ends_s(run), strict=True))
    for before, after in pairwise(log):
        if after.start_s > before.end_s:
            came = [end_s for arrival_s, end_s in stays_s if arrival_s < after.start_s]
            assert max(came) <= before.end_s + 1e-9


@given(case=cases())
def test_running_requests_are_those_admitted_and_not_finished(
    under: Build, uneven: Uneven, case: Case
) -> None:
    """Little's law: the running, integrated over time, are the sum of their stays."""
    served, log, run = observed(under, case, uneven())
    assume(not served.scheduler.preemptions)
    admitted_s: dict[int, float] = {}
    for event in log:
        for index, _ in event.prefills:
            admitted_s.setdefault(index, event.start_s)
    stays_s = [end_s - admitted_s[i] for i, end_s in enumerate(ends_s(run))]
    assert served.running_s == pytest.approx(sum(stays_s))


@given(case=cases(RESERVING))
def test_who_reserves_to_the_last_token_preempts_nobody(
    under: Build, uneven: Uneven, case: Case
) -> None:
    served, _, _ = observed(under, case, uneven())
    assert served.scheduler.preemptions == 0


@given(case=cases(STALL_FREE))
def test_hybrid_batches_never_stall_a_decode(under: Build, uneven: Uneven, case: Case) -> None:
    def check(scheduler: Scheduler, event: StepEvent) -> None:
        decoding = tuple(s.index for s in scheduler.running if s.decoding)
        assert event.decodes == decoding

    observed(under, case, uneven(), check)


@given(case=cases(("vllm_v0", "tgi", "tgi, short of tokens", *PADDED)))
def test_prompts_and_decodes_never_share_a_step(under: Build, uneven: Uneven, case: Case) -> None:
    _, log, _ = observed(under, case, uneven())
    assert all(bool(event.prefills) != bool(event.decodes) for event in log)


@given(case=cases())
def test_the_same_run_twice_is_the_same(under: Build, uneven: Uneven, case: Case) -> None:
    first, log, run = observed(under, case, uneven())
    second, again, rerun = observed(under, case, uneven())
    assert (log, run, first.busy_s) == (again, rerun, second.busy_s)
