"""The fixtures of the folder above, the policy named first."""

from collections.abc import Callable
from typing import Any

import pytest

from objectives import Request
from runners.simulated.policies import Policy
from runners.simulated.simulation import Run


@pytest.fixture(scope="session")
def run_under(run: Callable[..., Run]) -> Callable[..., Run]:
    """What becomes of these requests under a policy."""

    def run_of(policy: Policy, *requests: Request, **settings: Any) -> Run:
        return run(*requests, policy=policy, **settings)

    return run_of


@pytest.fixture(scope="session")
def log_under(serve: Callable[..., list[str]]) -> Callable[..., list[str]]:
    """The log of a replica that serves these requests under a policy."""

    def log_of(policy: Policy, *requests: Request, **settings: Any) -> list[str]:
        return serve(*requests, policy=policy, **settings)

    return log_of
