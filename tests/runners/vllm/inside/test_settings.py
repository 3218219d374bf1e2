import re
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pytest

Modules = Callable[[str], Any]


@pytest.fixture
def turned(modules: Modules) -> Callable[..., dict[str, Any]]:
    """The settings after knobs were turned on an engine launched with 8 sequences, 64 tokens."""
    settings = modules("paretune_settings")

    def turned(knobs: dict[str, Any], **caps: Any) -> dict[str, Any]:
        launched = {"max_num_seqs": 8, "max_num_batched_tokens": 64}
        limits = settings.Caps(**{**launched, "max_model_len": 256, **caps})
        return asdict(settings.Settings(**launched).turned(knobs, limits))

    return turned


def test_knobs_not_named_keep_their_setting(turned: Callable[..., dict[str, Any]]) -> None:
    assert turned({"max_num_seqs": 4, "batch_policy": "static"}) == {
        "max_num_seqs": 4,
        "max_num_batched_tokens": 64,
        "long_prefill_token_threshold": 0,
        "batch_wait_timeout_ms": 0,
        "batch_wait_min_requests": 0,
        "batch_policy": "static",
    }


@pytest.mark.parametrize(
    ("knobs", "complaint"),
    [
        ({"max_num_seqs": 0}, "`1 <= max_num_seqs <= 8` must hold, but got max_num_seqs=0."),
        ({"max_num_seqs": 9}, "`1 <= max_num_seqs <= 8` must hold, but got max_num_seqs=9."),
        (
            {"max_num_batched_tokens": 65},
            "`1 <= max_num_batched_tokens <= 64` must hold, but got max_num_batched_tokens=65.",
        ),
        (
            {"max_num_batched_tokens": 7},
            "`max_num_seqs <= max_num_batched_tokens` must hold, "
            "but got max_num_seqs=8, max_num_batched_tokens=7.",
        ),
        (
            {"long_prefill_token_threshold": 257},
            "`0 <= long_prefill_token_threshold <= 256` must hold, "
            "but got long_prefill_token_threshold=257.",
        ),
        (
            {"batch_wait_timeout_ms": 5000.5},
            "`0 <= batch_wait_timeout_ms <= 5000` must hold, "
            "but got batch_wait_timeout_ms=5000.5.",
        ),
        (
            {"batch_wait_timeout_ms": float("nan")},
            "`0 <= batch_wait_timeout_ms <= 5000` must hold, but got batch_wait_timeout_ms=nan.",
        ),
        (
            {"batch_wait_min_requests": -1},
            "`0 <= batch_wait_min_requests <= 4096` must hold, "
            "but got batch_wait_min_requests=-1.",
        ),
        (
            {"batch_policy": "lucky"},
            "`batch_policy` must be one of continuous, prefill_first, decode_first, static, "
            "but got lucky.",
        ),
        ({"max_num_seqs": True}, "`max_num_seqs` must be of type int, but got bool."),
        ({"max_num_seqs": 4.0}, "`max_num_seqs` must be of type int, but got float."),
        (
            {"batch_wait_timeout_ms": "1"},
            "`batch_wait_timeout_ms` must be of type int or float, but got str.",
        ),
        ({"batch_policy": None}, "`batch_policy` must be of type str, but got NoneType."),
        (
            {"max_seqs": 4},
            "A knob must be one of max_num_seqs, max_num_batched_tokens, "
            "long_prefill_token_threshold, batch_wait_timeout_ms, batch_wait_min_requests, "
            "batch_policy, but got max_seqs.",
        ),
    ],
)
def test_a_setting_the_engine_could_not_serve_is_refused(
    turned: Callable[..., dict[str, Any]], knobs: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(complaint)}$"):
        turned(knobs)


def test_without_chunked_prefill_a_step_must_take_the_longest_prompt(
    turned: Callable[..., dict[str, Any]],
) -> None:
    whole = {"enable_chunked_prefill": False, "max_model_len": 32}
    assert turned({"max_num_batched_tokens": 32}, **whole)["max_num_batched_tokens"] == 32
    with pytest.raises(ValueError, match="got max_num_batched_tokens=31, max_model_len=32"):
        turned({"max_num_batched_tokens": 31}, **whole)


def test_a_step_must_take_more_than_what_is_drafted_for_one_request(
    turned: Callable[..., dict[str, Any]],
) -> None:
    with pytest.raises(ValueError, match="must exceed the 16 tokens drafted per request"):
        turned({"max_num_batched_tokens": 16}, draft_tokens=16)
