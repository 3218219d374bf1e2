"""Small workloads, settings and KV caches that meet every rule of a scheduler sooner or later."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from hypothesis import strategies as st

from objectives import Load, Request, Workload
from runners.simulated.kv_cache import blocks_for
from runners.simulated.policies import (
    TGI,
    Adaptive,
    Orca,
    Policy,
    Sarathi,
    StaticBatching,
    TwoClass,
    VllmV0,
)
from runners.simulated.settings import SchedulerSettings
from runners.simulated.step_time import StepTime

GROUP_TOKENS = 32
LONGEST_INPUT, LONGEST_OUTPUT = 150, 60
LONGEST_TOKENS = LONGEST_INPUT + LONGEST_OUTPUT

POLICIES: dict[str, Callable[[float], Policy]] = {
    "vllm_v0": lambda _: VllmV0(max_model_len=LONGEST_TOKENS),
    "orca": lambda _: Orca(max_model_len=LONGEST_TOKENS),
    "sarathi": lambda _: Sarathi(),
    "static_batching": lambda _: StaticBatching(),
    "tgi": lambda _: TGI(waiting_served_ratio=0.5, max_waiting_tokens=5),
    "two_class": lambda _: TwoClass(interactive_requests=2, batch_requests=3),
    "adaptive": lambda slower: Adaptive(target_ms=100 * slower, max_requests=8, window=2),
    "orca, oracle": lambda _: Orca(),
    "static_batching, streaming": lambda _: StaticBatching(streaming=True),
    "tgi, short of tokens": lambda _: TGI(
        max_batch_prefill_tokens=160, max_batch_total_tokens=300
    ),
}
"""Those of the literature, from how much longer everything takes."""
VLLM = "vllm"
"""The four that vLLM runs too, by the settings' ``batch_policy``."""


class Told(StepTime):
    """Steps take what a test says."""

    source = "a test"
    uncertainty = "exact"

    def __init__(self, ms: Callable[..., float]) -> None:
        self._ms = ms

    def step_ms(self, *composition: int) -> float:
        return self._ms(*composition)


def uneven(scale: float = 1.0) -> StepTime:
    """Every composition of a step costs something else; sums of these terms are exact."""

    def ms(_: int, tokens: int, kv_tokens: int, decodes: int, decode_kv: int, *__: int) -> float:
        prefill_ms = 0.25 * tokens + 0.001953125 * kv_tokens
        return scale * (8.0 + prefill_ms + 0.5 * decodes + 0.00390625 * decode_kv)

    return Told(ms)


@dataclass(frozen=True)
class Case:
    requests: tuple[Request, ...]
    settings: SchedulerSettings
    blocks: int
    prefix_caching: bool
    policy: str = VLLM
    replicas: int = 1
    drafted: int = 0
    concurrency: int | None = None
    patience_s: float = math.inf
    slower: int = 1

    @property
    def load(self) -> Load:
        workload = Workload(name="t", requests=self.requests, concurrency=self.concurrency)
        return Load(workload=workload, patience_s=self.patience_s)

    @property
    def made(self) -> Policy | None:
        """A policy of its own for each replica; ``None``: the settings say which."""
        return None if self.policy == VLLM else POLICIES[self.policy](self.slower)

    def longer(self, factor: int) -> "Case":
        """The same in a world where everything takes longer."""
        wait_ms = factor * self.settings.batch_wait_timeout_ms
        return replace(
            self,
            requests=tuple(replace(r, arrival_s=factor * r.arrival_s) for r in self.requests),
            settings=replace(self.settings, batch_wait_timeout_ms=wait_ms),
            slower=factor * self.slower,
        )


requests_st = st.builds(
    Request,
    arrival_s=st.floats(0, 0.4),
    input_tokens=st.integers(1, LONGEST_INPUT),
    output_tokens=st.integers(1, LONGEST_OUTPUT),
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
def cases(draw: st.DrawFn, *policies: str) -> Case:
    """Of vLLM's own policies, unless others are named."""
    policy = draw(st.sampled_from(policies or (VLLM,)))
    drawn = draw(st.lists(requests_st, min_size=1, max_size=12))
    requests = [
        replace(r, blocks=r.blocks[: r.input_tokens // GROUP_TOKENS])
        for r in sorted(drawn, key=lambda r: r.arrival_s)
    ]
    options = draw(settings_st)
    least = max(blocks_for(r.input_tokens + r.output_tokens) for r in requests)
    if policy != VLLM:
        options = _of_literature(options, policy)
        least = blocks_for(LONGEST_TOKENS)  # some reserve or pad to it
    elif options.max_num_batched_tokens < LONGEST_TOKENS:
        options = replace(options, enable_chunked_prefill=True)
    spare = draw(st.integers(0, 10) | st.just(1000))
    return Case(tuple(requests), options, least + spare, draw(st.booleans()), policy)


def _of_literature(options: SchedulerSettings, policy: str) -> SchedulerSettings:
    """Without the switches that only vLLM's own policies have."""
    order = "priority" if policy == "two_class" else options.scheduling_policy
    return replace(
        options,
        enable_chunked_prefill=True,
        batch_policy="continuous",
        scheduling_policy=order,
    )


EVERY = cases() | cases(*POLICIES)
"""Half of them of vLLM's own policies."""
