"""Settings shared by the tests of runners."""

import math

import pytest


@pytest.fixture
def busy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests that judge no latency run on any machine, however late its requests leave."""
    monkeypatch.setattr("runners.load.tally.LATE_MS", math.inf)
