"""Replicas whose steps take a second each, and their logs as lines that are easy to work out."""

from collections.abc import Callable
from typing import Any

import pytest

from objectives import Load, Request, Workload
from runners.simulated.kv_cache import KVCache
from runners.simulated.policies import Policy
from runners.simulated.replica import Replica, StepEvent
from runners.simulated.scheduler import Scheduler
from runners.simulated.settings import SchedulerSettings
from runners.simulated.simulation import Run, simulate
from runners.simulated.step_time import StepTime

from .cases import Told

SECOND = Told(lambda *_: 1000.0)


def _line(event: StepEvent) -> str:
    """Such as ``3.5 prefill 1:33 2:4 decode 0 preempt 3``: when it starts, then requests."""
    chunks = [f"{request}:{tokens}" for request, tokens in event.prefills]
    parts = {"prefill": chunks, "decode": event.decodes, "preempt": event.preempted}
    words = [f"{name} {' '.join(map(str, who))}" for name, who in parts.items() if who]
    return " ".join([f"{event.start_s:g}", *words])


def _replica(
    observe: Callable[[StepEvent], None] | None = None,
    *,
    policy: Policy | None = None,
    steps: StepTime = SECOND,
    blocks: int = 1000,
    group_tokens: int = 16,
    prefix_caching: bool = False,
    **settings: Any,
) -> Replica:
    options = SchedulerSettings(**{"max_num_seqs": 8, "max_num_batched_tokens": 100} | settings)
    cache = KVCache(blocks, group_blocks=group_tokens // 16, prefix_caching=prefix_caching)
    scheduler = Scheduler(options, cache, group_tokens=group_tokens)
    return Replica(scheduler, steps, observe, policy=policy)


def _run(
    *requests: Request, observe: Callable[[StepEvent], None] | None = None, **settings: Any
) -> Run:
    load = Load(workload=Workload(name="t", requests=requests))
    return simulate(load, [_replica(observe, **settings)])


def _serve(*requests: Request, **settings: Any) -> list[str]:
    log: list[StepEvent] = []
    run = _run(*requests, observe=log.append, **settings)
    assert all(result.completed for result in run.results)
    return [_line(event) for event in log]


@pytest.fixture(scope="session")
def replica() -> Callable[..., Replica]:
    """A replica, by default of 8 slots, 100 tokens a step and KV blocks for all."""
    return _replica


@pytest.fixture(scope="session")
def run() -> Callable[..., Run]:
    """What becomes of these requests on one such replica, in an open loop."""
    return _run


@pytest.fixture(scope="session")
def serve() -> Callable[..., list[str]]:
    """The log of one such replica that serves these requests in an open loop."""
    return _serve
