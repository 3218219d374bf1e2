"""Knobs turned on a running engine do what the same flags do on vLLM's own scheduler."""

import re
from collections.abc import Callable
from typing import Any

import pytest

SETTINGS = [(4, 128, 0), (8, 64, 32)]
WORKLOAD = [(f"r{number}", 60 + 37 * number % 190, 3 + number % 6) for number in range(16)]
DETAILS = "--enable-logging-iteration-details"
COMPOSITION = re.compile(
    r"(\d+) context requests, (\d+) context tokens, "
    r"(\d+) generation requests, (\d+) generation tokens"
)


def flags(seqs: int, tokens: int, threshold: int) -> list[str]:
    given = {
        "--max-num-seqs": seqs,
        "--max-num-batched-tokens": tokens,
        "--long-prefill-token-threshold": threshold,
    }
    return [str(word) for flag in given.items() for word in flag]


def compositions(engine: Any) -> list[tuple[str, ...]]:
    """By vLLM's own account, of every step that served the workload."""
    seen = len(COMPOSITION.findall(engine.log.read_text("utf-8")))
    with engine.paused():
        sent = [engine.send(*request) for request in WORKLOAD]
    for answer in sent:
        answer.result(60)
    steps = COMPOSITION.findall(engine.log.read_text("utf-8"))[seen:]
    return [step for step in steps if step != ("0", "0", "0", "0")]


@pytest.mark.parametrize("setting", SETTINGS)
def test_live_knobs_and_fresh_flags_schedule_the_same_steps(
    launch: Callable[..., Any], setting: tuple[int, int, int]
) -> None:
    fresh = compositions(launch(DETAILS, *flags(*setting), ours=False))
    engine = launch(DETAILS)
    seqs, tokens, threshold = setting
    engine.turn(
        max_num_seqs=seqs, max_num_batched_tokens=tokens, long_prefill_token_threshold=threshold
    )
    live = compositions(engine)
    assert len(fresh) > 20
    assert live == fresh
