"""What holds whatever the policy, the traffic and the size of the KV cache."""

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from objectives import Load, Request, Workload
from runners.simulated.kv_cache import blocks_for
from runners.simulated.replica import Replica, StepEvent
from runners.simulated.scheduler import Scheduler
from runners.simulated.settings import SchedulerSettings
from runners.simulated.simulation import Run, simulate
from runners.simulated.step_time import StepTime

Build = Callable[..., Replica]
Uneven = Callable[..., StepTime]
GROUP_TOKENS = 32
LONGEST_TOKENS = 210


@dataclass(frozen=True)
class Case:
    requests: tuple[Request, ...]
    settings: SchedulerSettings
    blocks: int
    prefix_caching: bool

    @property
    def load(self) -> Load:
        return Load(workload=Workload(name="t", requests=self.requests))

    def longer(self, factor: int) -> "Case":
        """The same in a world where everything takes longer."""
        wait_ms = factor * self.settings.batch_wait_timeout_ms
        return replace(
            self,
            requests=tuple(replace(r, arrival_s=factor * r.arrival_s) for r in self.requests),
            settings=replace(self.settings, batch_wait_timeout_ms=wait_ms),
        )


requests_st = st.builds(
    Request,
    arrival_s=st.floats(0, 0.4),
    input_tokens=st.integers(1, 150),
    output_tokens=st.integers(1, 60),
    priority=st.integers(0, 2),
    # Few, so that prompts share them, also among themselves.
    blocks=st.lists(st.integers(1, 3), max_size=4).map(tuple),
)
settings_st = st.builds(
    SchedulerSettings,
    max_num_seqs=st.integers(1, 8),
    max_num_batched_tokens=st.integers(8, 128) | st.integers(LONGEST_TOKENS, 600),
    enable_chunked_prefill=st.booleans(),
    long_prefill_token_threshold=st.sampled_from([0, 0, 16, 50]),
    scheduling_policy=st.sampled_from(["fcfs", "priority"]),
    batch_policy=st.sampled_from(["continuous", "prefill_first", "decode_first", "static"]),
    batch_wait_timeout_ms=st.sampled_from([0.0, 0.0, 20.0, 100.0, 1000.0]),
    batch_wait_min_requests=st.sampled_from([0, 2, 4]),
)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    drawn = draw(st.lists(requests_st, min_size=1, max_size=12))
    requests = [
        replace(r, blocks=r.blocks[: r.input_tokens // GROUP_TOKENS])
        for r in sorted(drawn, key=lambda r: r.arrival_s)
    ]
    least = max(blocks_for(r.input_tokens + r.output_tokens) for r in requests)
    spare = draw(st.integers(0, 10) | st.just(1000))
    options = draw(settings_st)
    if options.max_num_batched_tokens < LONGEST_TOKENS:
        options = replace(options, enable_chunked_prefill=True)
    return Case(tuple(requests), options, least + spare, draw(st.booleans()))


def engine(
    build: Build,
    case: Case,
    steps: StepTime,
    observe: Callable[[StepEvent], None] | None = None,
) -> Replica:
    return build(
        observe,
        steps=steps,
        blocks=case.blocks,
        group_tokens=GROUP_TOKENS,
        prefix_caching=case.prefix_caching,
        **asdict(case.settings),
    )


def observed(build: Build, case: Case, steps: StepTime) -> tuple[Replica, list[StepEvent], Run]:
    log: list[StepEvent] = []
    served = engine(build, case, steps, log.append)
    return served, log, simulate(case.load, [served])


def times_s(run: Run) -> list[float]:
    """First and last token of every request."""
    return [
        result.arrival_s + (ms or 0) / 1000
        for result in run.results
        for ms in (result.ttft_ms, result.e2el_ms)
    ]


@given(case=cases())
def test_decoding_many_steps_at_once_is_the_same_as_step_by_step(
    replica: Build, uneven: Uneven, case: Case
) -> None:
    fast = engine(replica, case, uneven())
    slow, _, by_step = observed(replica, case, uneven())
    at_once = simulate(case.load, [fast])
    assert times_s(at_once) == pytest.approx(times_s(by_step), abs=1e-9)
    assert at_once.duration_s == pytest.approx(by_step.duration_s, abs=1e-9)
    assert fast.steps == slow.steps
    assert fast.scheduler.preemptions == slow.scheduler.preemptions
    assert fast.scheduler.cached_tokens == slow.scheduler.cached_tokens
    assert fast.busy_s == pytest.approx(slow.busy_s, abs=1e-9)
    assert fast.running_s == pytest.approx(slow.running_s, abs=1e-9)


@given(case=cases())
def test_every_request_is_served_once_and_every_block_comes_back(
    replica: Build, uneven: Uneven, case: Case
) -> None:
    served, log, run = observed(replica, case, uneven())
    assert [(r.arrival_s, r.input_tokens, r.output_tokens) for r in run.results] == [
        (r.arrival_s, r.input_tokens, r.output_tokens) for r in case.requests
    ]
    assert all(result.completed for result in run.results)
    assert not served.busy
    assert served.scheduler.cache.available == case.blocks

    assume(not served.scheduler.preemptions)
    chunks = Counter[int]()
    for event in log:
        chunks.update(dict(event.prefills))
    decodes = Counter(index for event in log for index in event.decodes)
    assert decodes == Counter({i: r.output_tokens - 1 for i, r in enumerate(case.requests)})
    computed = sum(chunks.values()) + served.scheduler.cached_tokens
    assert computed == sum(r.input_tokens for r in case.requests)
    if not case.prefix_caching:
        assert chunks == Counter({i: r.input_tokens for i, r in enumerate(case.requests)})


@given(case=cases())
def test_no_step_goes_over_the_slots_the_tokens_or_the_kv_blocks(
    replica: Build, uneven: Uneven, case: Case
) -> None:
    def check(event: StepEvent) -> None:
        tokens = sum(tokens for _, tokens in event.prefills) + len(event.decodes)
        assert 0 < tokens <= case.settings.max_num_batched_tokens
        assert len(served.scheduler.running) <= case.settings.max_num_seqs
        free = served.scheduler.cache.available
        assert free >= 0
        assert free == case.blocks - held_blocks(served.scheduler)

    served = engine(replica, case, uneven(), check)
    simulate(case.load, [served])


def held_blocks(scheduler: Scheduler) -> int:
    """Blocks of everybody that runs, those of a shared prefix counted once."""
    own, shared = 0, set[int]()
    for sequence in scheduler.running:
        decoding = sequence.decoding
        computed = scheduler.decodes.computed(sequence) if decoding else sequence.computed
        own += blocks_for(computed) - blocks_for(sequence.groups * GROUP_TOKENS)
        shared.update(sequence.request.blocks[: sequence.groups])
    return own + len(shared) * blocks_for(GROUP_TOKENS)


@given(case=cases())
def test_a_replica_with_work_it_may_do_is_never_idle(
    replica: Build, uneven: Uneven, case: Case
) -> None:
    assume(not case.settings.batch_wait_timeout_ms)
    _, log, run = observed(replica, case, uneven())
    assert log[0].start_s == case.requests[0].arrival_s
    stays_s = list(zip((r.arrival_s for r in run.results), times_s(run)[1::2], strict=True))
    for before, after in pairwise(log):
        if after.start_s > before.end_s:
            came = [end_s for arrival_s, end_s in stays_s if arrival_s < after.start_s]
            assert max(came) <= before.end_s + 1e-9


@given(case=cases())
def test_running_requests_are_those_admitted_and_not_finished(
    replica: Build, uneven: Uneven, case: Case
) -> None:
    served, log, run = observed(replica, case, uneven())
    assume(not served.scheduler.preemptions)
    admitted_s: dict[int, float] = {}
    for event in log:
        for index, _ in event.prefills:
            admitted_s.setdefault(index, event.start_s)
    stays_s = [end - admitted_s[i] for i, end in enumerate(times_s(run)[1::2])]
    assert served.running_s == pytest.approx(sum(stays_s))


@given(case=cases())
def test_when_everything_takes_twice_as_long_every_latency_doubles(
    replica: Build, uneven: Uneven, case: Case
) -> None:
    once = simulate(case.load, [engine(replica, case, uneven())])
    slower = case.longer(2)
    twice = simulate(slower.load, [engine(replica, slower, uneven(2.0))])
    assert [r.ttft_ms for r in twice.results] == [2 * (r.ttft_ms or 0) for r in once.results]
    assert [r.e2el_ms for r in twice.results] == [2 * (r.e2el_ms or 0) for r in once.results]
    assert twice.duration_s == 2 * once.duration_s


@given(case=cases())
def test_the_same_run_twice_is_the_same(replica: Build, uneven: Uneven, case: Case) -> None:
    first, log, run = observed(replica, case, uneven())
    second, again, rerun = observed(replica, case, uneven())
    assert (log, run, first.busy_s) == (again, rerun, second.busy_s)
