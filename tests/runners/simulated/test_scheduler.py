"""The scheduler against a plain transcription of vLLM V1's loop, and against hand-made logs."""

import math
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from objectives import Load, Request, Workload
from runners.simulated.kv_cache import KVCache, blocks_for
from runners.simulated.replica import Replica, StepEvent
from runners.simulated.scheduler import Scheduler
from runners.simulated.settings import SchedulerSettings
from runners.simulated.simulation import simulate

MS_PER_STEP = 8.0


class Linear:
    """10 ms a step would do; these terms make every composition cost something else."""

    source = "a test"
    uncertainty = "exact"

    def step_ms(
        self,
        prefill_requests: int,
        prefill_tokens: int,
        prefill_kv_tokens: int,
        decode_requests: int,
        decode_kv_tokens: int,
    ) -> float:
        return (
            MS_PER_STEP
            + 0.25 * prefill_tokens
            + 0.001953125 * prefill_kv_tokens
            + 0.5 * decode_requests
            + 0.00390625 * decode_kv_tokens
        )


@dataclass
class _Plain:
    """A request in the plain transcription."""

    index: int
    request: Request
    target: int
    computed: int = 0
    outputs: int = 0
    blocks: int = 0
    first_s: float | None = None
    finish_s: float | None = None
    preempted: bool = False

    @property
    def urgency(self) -> tuple[int, float, int]:
        return self.request.priority, self.request.arrival_s, self.index


def plain_v1(  # noqa: C901
    requests: list[Request], options: SchedulerSettings, blocks: int
) -> list[tuple[float, float]]:
    """(first token, last token) of every request: one dictionary-free walk per step."""
    todo = [_Plain(i, r, r.input_tokens) for i, r in enumerate(requests)]
    everyone = list(todo)
    waiting: list[_Plain] = []
    running: list[_Plain] = []
    free, now = blocks, 0.0
    by_priority = options.scheduling_policy == "priority"
    while todo or waiting or running:
        while todo and todo[0].request.arrival_s <= now:
            waiting.append(todo.pop(0))
        if not waiting and not running:
            now = todo[0].request.arrival_s
            continue
        if by_priority:
            waiting.sort(key=lambda s: s.urgency)
        budget = options.max_num_batched_tokens
        granted: list[tuple[_Plain, int]] = []
        preempted = False

        index = 0
        while index < len(running) and budget > 0:
            seq = running[index]
            tokens = _wanted(seq, options, len(running) + len(waiting))
            tokens = min(tokens, budget)
            dead = False
            while (need := blocks_for(seq.computed + tokens) - seq.blocks) > free:
                victim = max(running, key=lambda s: s.urgency) if by_priority else running[-1]
                place = running.index(victim)
                running.remove(victim)
                if place < index:
                    index -= 1
                for grant in [g for g in granted if g[0] is victim]:
                    granted.remove(grant)
                    budget += grant[1]
                free += victim.blocks
                victim.blocks = victim.computed = 0
                victim.target = victim.request.input_tokens + victim.outputs
                victim.preempted = True
                waiting.insert(0, victim)
                preempted = True
                if victim is seq:
                    dead = True
                    break
            if dead:
                break
            free -= need
            seq.blocks += need
            granted.append((seq, tokens))
            budget -= tokens
            index += 1
        if by_priority:
            waiting.sort(key=lambda s: s.urgency)
        while not preempted and waiting and budget > 0 and len(running) < options.max_num_seqs:
            seq = waiting[0]
            tokens = min(_wanted(seq, options, len(running) + len(waiting)), budget)
            if blocks_for(tokens) > free:
                break
            waiting.pop(0)
            free -= blocks_for(tokens)
            seq.blocks = blocks_for(tokens)
            running.append(seq)
            granted.append((seq, tokens))
            budget -= tokens
        if not granted:
            continue
        prompts = [(s, n) for s, n in granted if s.computed < s.target]
        decodes = [s for s, _ in granted if s.computed >= s.target]
        now += (
            Linear().step_ms(
                len(prompts),
                sum(n for _, n in prompts),
                sum(s.computed for s, _ in prompts),
                len(decodes),
                sum(s.computed for s in decodes),
            )
            / 1000
        )
        for seq, tokens in granted:
            seq.computed += tokens
            if seq.computed < seq.target:
                continue
            seq.outputs += 1
            seq.first_s = now if seq.first_s is None else seq.first_s
            if seq.outputs == seq.request.output_tokens:
                seq.finish_s = now
                running.remove(seq)
                free += seq.blocks
    return [(s.first_s or math.nan, s.finish_s or math.nan) for s in everyone]


def _wanted(seq: _Plain, options: SchedulerSettings, present: int) -> int:
    if seq.computed >= seq.target:
        return 1
    tokens = seq.target - seq.computed
    limit = options.long_prefill_token_threshold
    return min(tokens, limit) if limit and present > 1 else tokens


def replica(
    options: SchedulerSettings,
    blocks: int,
    log: list[StepEvent] | None = None,
    *,
    group_tokens: int = 16,
    prefix_caching: bool = False,
) -> Replica:
    cache = KVCache(blocks, group_blocks=group_tokens // 16, prefix_caching=prefix_caching)
    return Replica(
        Scheduler(options, cache, group_tokens=group_tokens),
        Linear(),
        None if log is None else log.append,
    )


request_lists = st.lists(
    st.tuples(
        st.floats(0, 0.3),
        st.integers(1, 200),
        st.integers(1, 60),
        st.integers(0, 2),
    ),
    min_size=1,
    max_size=14,
)
options_st = st.builds(
    SchedulerSettings,
    max_num_seqs=st.integers(1, 8),
    max_num_batched_tokens=st.integers(8, 128),
    long_prefill_token_threshold=st.sampled_from([0, 0, 16, 50]),
    scheduling_policy=st.sampled_from(["fcfs", "fcfs", "priority"]),
)


@settings(max_examples=300, deadline=None)
@given(rows=request_lists, options=options_st, spare=st.integers(0, 40))
def test_the_scheduler_serves_every_request_when_vllms_own_loop_does(
    rows: list[tuple[float, int, int, int]], options: SchedulerSettings, spare: int
) -> None:
    requests = [Request(t, i, o, priority=p) for t, i, o, p in sorted(rows)]
    blocks = max(blocks_for(r.input_tokens + r.output_tokens) for r in requests) + spare
    engine = replica(options, blocks)
    run = simulate(Load(workload=Workload(name="t", requests=tuple(requests))), [engine])

    expected = plain_v1(requests, options, blocks)
    actual = [
        (r.arrival_s + (r.ttft_ms or 0) / 1000, r.arrival_s + (r.e2el_ms or 0) / 1000)
        for r in run.results
    ]
    for (first, last), (expected_first, expected_last) in zip(actual, expected, strict=True):
        assert math.isclose(first, expected_first, abs_tol=1e-9)
        assert math.isclose(last, expected_last, abs_tol=1e-9)
    assert engine.scheduler.cache.available == blocks
