"""What holds whatever the policy, the traffic and the size of the KV cache."""

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from itertools import pairwise

import pytest
from hypothesis import assume, given

from runners.simulated.kv_cache import blocks_for
from runners.simulated.replica import Replica, StepEvent
from runners.simulated.scheduler import Scheduler
from runners.simulated.simulation import Run, simulate
from runners.simulated.step_time import StepTime

from .cases import GROUP_TOKENS, Case, cases

Build = Callable[..., Replica]
Uneven = Callable[..., StepTime]


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
        assert free == case.blocks - held_blocks(served.scheduler, event)

    served = engine(replica, case, uneven(), check)
    simulate(case.load, [served])


def held_blocks(scheduler: Scheduler, event: StepEvent) -> int:
    """Blocks of everybody in the step, those of a shared prefix counted once."""
    own, shared = 0, set[int]()
    granted = {**dict(event.prefills), **dict.fromkeys(event.decodes, 1)}
    for sequence in scheduler.running:
        computed = sequence.computed + granted.get(sequence.index, 0)
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
