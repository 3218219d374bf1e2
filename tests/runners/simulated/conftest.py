"""Replicas whose steps take a second each, and their logs as lines that are easy to work out."""

from collections.abc import Callable
from typing import Any

import pytest

from objectives import Load, Request, Workload
from runners.simulated.kv_cache import KVCache
from runners.simulated.replica import Replica, StepEvent
from runners.simulated.scheduler import Scheduler
from runners.simulated.settings import SchedulerSettings
from runners.simulated.simulation import simulate
from runners.simulated.step_time import StepTime


class _Second(StepTime):
    source = "a test"
    uncertainty = "exact"

    def step_ms(
        self,
        prefill_requests: int,
        prefill_tokens: int,
        prefill_kv_tokens: int,
        decode_requests: int,
        decode_kv_tokens: int,
        drafted_tokens: int = 0,
    ) -> float:
        return 1000.0


class _Uneven(StepTime):
    """Every composition of a step costs something else; sums of these terms are exact."""

    source = "a test"
    uncertainty = "exact"

    def __init__(self, scale: float = 1.0) -> None:
        self._scale = scale

    def step_ms(
        self,
        prefill_requests: int,
        prefill_tokens: int,
        prefill_kv_tokens: int,
        decode_requests: int,
        decode_kv_tokens: int,
        drafted_tokens: int = 0,
    ) -> float:
        return self._scale * (
            8.0
            + 0.25 * prefill_tokens
            + 0.001953125 * prefill_kv_tokens
            + 0.5 * decode_requests
            + 0.00390625 * decode_kv_tokens
        )


def _line(event: StepEvent) -> str:
    """Such as ``3.5 prefill 1:33 2:4 decode 0 preempt 3``: when it starts, then requests."""
    chunks = [f"{request}:{tokens}" for request, tokens in event.prefills]
    parts = {"prefill": chunks, "decode": event.decodes, "preempt": event.preempted}
    words = [f"{name} {' '.join(map(str, who))}" for name, who in parts.items() if who]
    return " ".join([f"{event.start_s:g}", *words])


def _replica(
    observe: Callable[[StepEvent], None] | None = None,
    *,
    steps: StepTime | None = None,
    blocks: int = 1000,
    group_tokens: int = 16,
    prefix_caching: bool = False,
    **settings: Any,
) -> Replica:
    options = SchedulerSettings(**{"max_num_seqs": 8, "max_num_batched_tokens": 100} | settings)
    cache = KVCache(blocks, group_blocks=group_tokens // 16, prefix_caching=prefix_caching)
    scheduler = Scheduler(options, cache, group_tokens=group_tokens)
    return Replica(scheduler, steps or _Second(), observe)


def _serve(*requests: Request, **settings: Any) -> list[str]:
    log: list[StepEvent] = []
    load = Load(workload=Workload(name="t", requests=requests))
    run = simulate(load, [_replica(log.append, **settings)])
    assert all(result.completed for result in run.results)
    return [_line(event) for event in log]


@pytest.fixture(scope="session")
def replica() -> Callable[..., Replica]:
    """A replica, by default of 8 slots, 100 tokens a step and KV blocks for all."""
    return _replica


@pytest.fixture(scope="session")
def serve() -> Callable[..., list[str]]:
    """The log of one such replica that serves these requests in an open loop."""
    return _serve


@pytest.fixture(scope="session")
def uneven() -> Callable[..., StepTime]:
    """Step times that tell every batch from every other, times a scale."""
    return _Uneven
