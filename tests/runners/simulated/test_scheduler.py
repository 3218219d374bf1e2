"""The scheduler against a plain transcription of vLLM V1's loop, with the gate of ours."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from objectives import Load, Request, Workload
from runners.simulated.kv_cache import blocks_for
from runners.simulated.replica import Replica
from runners.simulated.settings import SchedulerSettings
from runners.simulated.simulation import simulate
from runners.simulated.step_time import StepTime


@dataclass(eq=False)
class Plain:
    """A request in the plain transcription."""

    index: int
    request: Request
    target: int
    computed: int = 0
    outputs: int = 0
    blocks: int = 0
    first_s: float = math.nan
    finish_s: float = math.nan
    preempted: bool = False

    @property
    def urgency(self) -> tuple[int, float, int]:
        return self.request.priority, self.request.arrival_s, self.index


def plain_v1(  # noqa: C901
    requests: list[Request], options: SchedulerSettings, blocks: int, steps: StepTime
) -> list[tuple[float, float]]:
    """(first token, last token) of every request: one dictionary-free walk per step."""
    todo = [Plain(i, r, r.input_tokens) for i, r in enumerate(requests)]
    everyone = list(todo)
    waiting: list[Plain] = []
    running: list[Plain] = []
    free, now, joining = blocks, 0.0, 0
    by_priority = options.scheduling_policy == "priority"
    while todo or waiting or running:
        while todo and todo[0].request.arrival_s <= now:
            waiting.append(todo.pop(0))
        opens = gate_opens_s(waiting, running, joining, options)
        if not running and (not waiting or opens > now) and not any(s.preempted for s in waiting):
            now = min(opens, todo[0].request.arrival_s if todo else math.inf)
            continue
        if not running and opens <= now and not any(s.preempted for s in waiting):
            joining = min(sum(not s.preempted for s in waiting), options.max_num_seqs)
        budget = options.max_num_batched_tokens
        granted: list[tuple[Plain, int]] = []
        preempted = False

        index = 0
        while index < len(running) and budget > 0:
            seq = running[index]
            tokens = min(wanted(seq, options, len(running) + len(waiting)), budget)
            while (need := blocks_for(seq.computed + tokens) - seq.blocks) > free:
                victim = max(running, key=lambda s: s.urgency) if by_priority else running[-1]
                index -= running.index(victim) < index
                running.remove(victim)
                for grant in [g for g in granted if g[0] is victim]:
                    granted.remove(grant)
                    budget += grant[1]
                free += victim.blocks
                victim.blocks = victim.computed = 0
                victim.target = victim.request.input_tokens + victim.outputs
                victim.preempted = preempted = True
                waiting.insert(0, victim)
                if victim is seq:
                    break
            if seq not in running:
                break
            free -= need
            seq.blocks += need
            granted.append((seq, tokens))
            budget -= tokens
            index += 1
        if by_priority:
            waiting.sort(key=lambda s: s.urgency)
        candidates = [s for s in waiting if s.preempted or opens <= now]
        static = options.batch_policy == "static"
        while not preempted and candidates and budget > 0 and len(running) < options.max_num_seqs:
            seq = candidates.pop(0)
            if static and not seq.preempted and not joining:
                continue
            tokens = wanted(seq, options, len(running) + len(waiting))
            if tokens > budget and not options.enable_chunked_prefill:
                break
            tokens = min(tokens, budget)
            if blocks_for(tokens) > free:
                joining = 0
                break
            waiting.remove(seq)
            joining -= not seq.preempted
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
            steps.step_ms(
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
            seq.first_s = now if math.isnan(seq.first_s) else seq.first_s
            if seq.outputs == seq.request.output_tokens:
                seq.finish_s = now
                running.remove(seq)
                free += seq.blocks
    return [(s.first_s, s.finish_s) for s in everyone]


def wanted(seq: Plain, options: SchedulerSettings, present: int) -> int:
    if seq.computed >= seq.target:
        return 1
    tokens = seq.target - seq.computed
    limit = options.long_prefill_token_threshold
    return min(tokens, limit) if limit and present > 1 else tokens


def gate_opens_s(
    waiting: list[Plain], running: list[Plain], joining: int, options: SchedulerSettings
) -> float:
    """When requests that have not run yet may be admitted, as things stand."""
    if options.batch_policy == "static" and (running or any(s.preempted for s in waiting)):
        return 0.0 if joining > 0 and any(not s.preempted for s in waiting) else math.inf
    free = options.max_num_seqs - len(running)
    enough = min(free, options.batch_wait_min_requests or options.max_num_seqs)
    if options.batch_wait_timeout_ms == 0 or len(waiting) >= max(1, enough):
        return 0.0 if waiting else math.inf
    held = [s.request.arrival_s for s in waiting if not s.preempted]
    return min(held) + options.batch_wait_timeout_ms / 1000 if held else math.inf


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
all_settings = st.builds(
    SchedulerSettings,
    max_num_seqs=st.integers(1, 8),
    max_num_batched_tokens=st.integers(8, 128),
    long_prefill_token_threshold=st.sampled_from([0, 0, 16, 50]),
    scheduling_policy=st.sampled_from(["fcfs", "fcfs", "priority"]),
    batch_policy=st.sampled_from(["continuous", "continuous", "static"]),
    batch_wait_timeout_ms=st.sampled_from([0.0, 0.0, 20.0, 100.0, 1000.0]),
    batch_wait_min_requests=st.sampled_from([0, 2, 4]),
) | st.builds(
    SchedulerSettings,
    max_num_seqs=st.integers(1, 8),
    max_num_batched_tokens=st.integers(260, 600),
    enable_chunked_prefill=st.just(False),
)


@settings(max_examples=300)
@given(rows=request_lists, options=all_settings, spare=st.integers(0, 40))
def test_every_request_is_served_when_vllms_own_loop_serves_it(
    replica: Callable[..., Replica],
    uneven: Callable[..., StepTime],
    rows: list[tuple[float, int, int, int]],
    options: SchedulerSettings,
    spare: int,
) -> None:
    requests = [Request(t, i, o, priority=p) for t, i, o, p in sorted(rows)]
    blocks = max(blocks_for(r.input_tokens + r.output_tokens) for r in requests) + spare
    engine = replica(steps=uneven(), blocks=blocks, **asdict(options))
    run = simulate(Load(workload=Workload(name="t", requests=tuple(requests))), [engine])

    actual = [
        (r.arrival_s + (r.ttft_ms or 0) / 1000, r.arrival_s + (r.e2el_ms or 0) / 1000)
        for r in run.results
    ]
    for served, expected in zip(
        actual, plain_v1(requests, options, blocks, uneven()), strict=True
    ):
        assert served == pytest.approx(expected, abs=1e-9)
    assert engine.scheduler.cache.available == blocks
