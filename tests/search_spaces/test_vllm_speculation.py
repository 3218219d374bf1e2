import pytest

from search_spaces.vllm_speculation import speculation, word_of


@pytest.mark.parametrize("word", ["ngram", "draft:/models/small"])
def test_what_vllm_is_told_is_read_back(word: str) -> None:
    told = speculation(word)
    assert told is not None
    assert word_of(told) == word


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"method": "eagle", "model": "x"},
        {"method": "draft_model", "num_speculative_tokens": 4},
        {"method": "ngram", "num_speculative_tokens": 9, "prompt_lookup_max": 4},
    ],
)
def test_another_object_has_no_word_of_ours(told: dict[str, object]) -> None:
    assert word_of(told) is None
