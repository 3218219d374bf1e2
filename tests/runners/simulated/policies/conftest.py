"""Replicas under a policy, their steps a second each by default, and their logs as lines."""

from collections.abc import Callable
from typing import Any

import pytest

from objectives import Load, Request, Workload
from runners.simulated.policies import Policy
from runners.simulated.replica import Replica, StepEvent
from runners.simulated.simulation import Run, simulate
from runners.simulated.step_time import StepTime

Observe = Callable[[StepEvent], None]


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


def _line(event: StepEvent) -> str:
    """Such as ``3.5 prefill 1:33 2:4 decode 0 preempt 3``: when it starts, then requests."""
    chunks = [f"{request}:{tokens}" for request, tokens in event.prefills]
    parts = {"prefill": chunks, "decode": event.decodes, "preempt": event.preempted}
    words = [f"{name} {' '.join(map(str, who))}" for name, who in parts.items() if who]
    return " ".join([f"{event.start_s:g}", *words])


@pytest.fixture(scope="session")
def under(replica: Callable[..., Replica]) -> Callable[..., Replica]:
    """A replica under a policy, by default of 8 slots, 100 tokens a step and KV blocks for all."""

    def build(
        policy: Policy,
        observe: Observe | None = None,
        *,
        steps: StepTime | None = None,
        **settings: Any,
    ) -> Replica:
        scheduler = replica(**settings).scheduler
        return Replica(scheduler, steps or _Second(), observe, policy=policy)

    return build


@pytest.fixture(scope="session")
def run_under(under: Callable[..., Replica]) -> Callable[..., Run]:
    """What becomes of these requests, in an open loop, under a policy."""

    def run(policy: Policy, *requests: Request, **settings: Any) -> Run:
        load = Load(workload=Workload(name="t", requests=requests))
        return simulate(load, [under(policy, **settings)])

    return run


@pytest.fixture(scope="session")
def log_under(under: Callable[..., Replica]) -> Callable[..., list[str]]:
    """The log of a replica that serves these requests under a policy."""

    def log_of(policy: Policy, *requests: Request, **settings: Any) -> list[str]:
        log: list[StepEvent] = []
        load = Load(workload=Workload(name="t", requests=requests))
        run = simulate(load, [under(policy, log.append, **settings)])
        assert all(result.completed for result in run.results)
        return [_line(event) for event in log]

    return log_of
