"""Small workloads, settings and KV caches that meet every rule of a scheduler sooner or later."""

import math
from dataclasses import dataclass, replace

from hypothesis import strategies as st

from objectives import Load, Request, Workload
from runners.simulated.kv_cache import blocks_for
from runners.simulated.settings import SchedulerSettings

GROUP_TOKENS = 32
LONGEST_TOKENS = 210


@dataclass(frozen=True)
class Case:
    requests: tuple[Request, ...]
    settings: SchedulerSettings
    blocks: int
    prefix_caching: bool
    replicas: int = 1
    drafted: int = 0
    concurrency: int | None = None
    patience_s: float = math.inf

    @property
    def load(self) -> Load:
        workload = Workload(name="t", requests=self.requests, concurrency=self.concurrency)
        return Load(workload=workload, patience_s=self.patience_s)

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
