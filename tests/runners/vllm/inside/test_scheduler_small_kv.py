"""The scheduler with a KV cache that holds two prompts of 100 tokens, four blocks each."""

from collections.abc import Callable
from typing import Any

import pytest

FLAGS = [
    *("--block-size", "32", "--num-gpu-blocks-override", "9", "--max-model-len", "256"),
    "--no-scheduler-reserve-full-isl",
]
"""Eight blocks of 32 tokens, and one that vLLM keeps for itself."""


@pytest.fixture(scope="module")
def shared_engine(launch: Callable[..., Any]) -> Any:
    engine = launch(*FLAGS, PARETUNE_KNOBS='{"max_num_seqs": 4}')
    assert engine.turn()["knobs"]["max_num_seqs"] == 4
    return engine


def test_a_preempted_request_is_never_held_and_lets_nobody_in(engine: Any) -> None:
    engine.turn(max_num_seqs=4, batch_wait_timeout_ms=2500, batch_wait_min_requests=3)
    assert engine.serve(("a", 100, 40), ("b", 100, 50), ("c", 90, 1)) == [
        "prefill a:100 b:100",
        "28 x decode a b",
        "decode a preempt b",
        "10 x decode a",
        "prefill b:129",
        "20 x decode b",
        "prefill c:90",
    ]


def test_a_full_kv_cache_closes_a_static_batch(engine: Any) -> None:
    engine.turn(batch_policy="static")
    assert engine.serve(("a", 100, 5), ("b", 100, 10), ("c", 90, 3), ("d", 90, 2)) == [
        "prefill a:100 b:100",
        "4 x decode a b",
        "5 x decode b",
        "prefill c:90 d:90",
        "decode c d",
        "decode c",
    ]


def test_nobody_slips_into_a_static_batch_behind_a_preempted_request(engine: Any) -> None:
    # Until d has finished there is no room for b; then there would be a slot for c as well.
    engine.turn(batch_policy="static", max_num_seqs=3)
    assert engine.serve(("a", 100, 60), ("d", 30, 35), ("b", 90, 6), ("c", 20, 1)) == [
        "prefill a:100 d:30 b:90",
        "2 x decode a d b",
        "decode a d preempt b",
        "31 x decode a d",
        "prefill b:93 decode a",
        "2 x decode a b",
        "22 x decode a",
        "prefill c:20",
    ]


def test_prefill_first_decodes_while_no_prompt_finds_room(engine: Any) -> None:
    engine.turn(batch_policy="prefill_first")
    assert engine.serve(("a", 100, 5), ("b", 100, 8), ("c", 90, 2)) == [
        "prefill a:100 b:100",
        "4 x decode a b",
        "prefill c:90",
        "decode b c",
        "2 x decode b",
    ]
