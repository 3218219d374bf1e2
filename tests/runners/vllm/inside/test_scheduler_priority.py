"""The scheduler under ``--scheduling-policy priority``: the most urgent first."""

from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture(scope="module")
def shared_engine(launch: Callable[..., Any]) -> Any:
    return launch("--scheduling-policy", "priority")


def test_of_the_held_the_most_urgent_go_first(engine: Any) -> None:
    engine.turn(
        batch_wait_timeout_ms=1000,
        batch_wait_min_requests=3,
        max_num_batched_tokens=64,
    )
    assert engine.serve(("a", 60, 1, 2), ("b", 60, 1, 1), ("c", 60, 1, 0)) == [
        "prefill c:60 b:4",
        "prefill b:56",
        "prefill a:60",  # alone it waits for the timeout
    ]


def test_the_oldest_ends_the_wait_also_of_more_urgent_ones(engine: Any) -> None:
    engine.turn(batch_wait_timeout_ms=1000)
    queued_s = engine.now_s()
    old = engine.send("a", 20, 1, 9)
    young = engine.send("b", 20, 1, 0)
    assert [old.result(60), young.result(60)] == [1, 1]
    (step,) = engine.steps()
    assert engine.line(step) == "prefill b:20 a:20"
    assert step.start_s - queued_s >= 1.0


def test_an_urgent_stranger_joins_no_static_batch(engine: Any) -> None:
    engine.turn(batch_policy="static")
    member = engine.send("a", 20, 200, 5)
    engine.until(lambda: engine.turn()["running"] == 1)
    stranger = engine.send("b", 20, 1, 0)
    assert [member.result(60), stranger.result(60)] == [200, 1]
    assert engine.lines() == ["prefill a:20", "199 x decode a", "prefill b:20"]
