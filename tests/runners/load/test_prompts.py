import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objectives import Request
from runners.load.job import Numbered
from runners.load.prompts import (
    WORDS,
    Calibration,
    Prompts,
    TextPrompts,
    TokenPrompts,
    body,
    calibrated,
    calibration_texts,
)
from runners.load.server import Server


def tokens(salt: str = "salt", vocab_size: int = 4096) -> Prompts:
    return TokenPrompts(vocab_size=vocab_size, salt=salt, block_tokens=8)


def words(salt: str = "salt") -> Prompts:
    calibration = Calibration(tokens_per_word=1.25, overhead_tokens=1.0)
    return TextPrompts(calibration=calibration, salt=salt, block_tokens=10)


def made(prompts: Prompts, index: int, input_tokens: int, *blocks: int) -> list[object]:
    """The prompt as ids or as words."""
    prompt = prompts.prompt(Numbered(index, Request(0.0, input_tokens, 1, blocks)))
    parsed = json.loads(b"".join(prompt))
    return list(parsed.split()) if isinstance(parsed, str) else list(parsed)


@given(st.integers(1, 200), st.integers(18, 200_000), st.integers(0, 25))
def test_token_prompts_are_as_long_as_asked_for_and_of_ordinary_tokens(
    input_tokens: int, vocab_size: int, blocks: int
) -> None:
    ids = made(tokens(vocab_size=vocab_size), 0, input_tokens, *range(blocks))
    assert len(ids) == input_tokens
    assert all(isinstance(i, int) and 16 <= i < vocab_size for i in ids)


@pytest.mark.parametrize("prompts", [tokens, words])
def test_prompts_repeat_under_the_same_salt_only(prompts: Callable[[str], Prompts]) -> None:
    assert made(prompts("a"), 3, 40) == made(prompts("a"), 3, 40)
    assert made(prompts("a"), 3, 40) != made(prompts("b"), 3, 40)
    assert made(prompts("a"), 3, 40) != made(prompts("a"), 4, 40)


def test_equal_leading_blocks_are_equal_tokens_and_the_rest_is_not() -> None:
    first, second = made(tokens(), 0, 20, 7, 9), made(tokens(), 1, 20, 7, 9)
    assert first[:16] == second[:16]
    assert first[16:] != second[16:]
    assert made(tokens(), 2, 20, 7, 8)[:16] != first[:16]
    assert made(tokens("other"), 0, 20, 7, 9)[:8] != first[:8]


def test_equal_leading_blocks_are_equal_words() -> None:
    first, second = made(words(), 0, 31, 7, 9), made(words(), 1, 31, 7, 9)
    assert (len(first), first[:16]) == (24, second[:16])
    assert first[16:] != second[16:]


def test_a_vocabulary_of_special_tokens_alone_is_refused() -> None:
    with pytest.raises(ValueError, match="`vocab_size > 17` must hold, but got 16"):
        tokens(vocab_size=16)


def test_calibration_finds_what_a_word_and_a_prompt_cost() -> None:
    short, long = (len(text.split()) for text in calibration_texts())
    assert (short, long) == (2 * len(WORDS), 4 * len(WORDS))
    assert calibrated(3 + short * 5 // 4, 3 + long * 5 // 4) == Calibration(1.25, 3.0)
    with pytest.raises(ValueError, match="must count for more tokens"):
        calibrated(10, 10)


def test_a_request_asks_for_a_greedy_stream_of_an_exact_length() -> None:
    server = Server(url="http://127.0.0.1:1", model="tiny")
    asked = json.loads(b"".join(body(server, (b"[17,", b"18]"), Request(0.0, 2, 5, (), 3))))
    assert asked == {
        "model": "tiny",
        "prompt": [17, 18],
        "max_tokens": 5,
        "ignore_eos": True,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
        "priority": 3,
    }
