"""How vLLM is told to speculate: one word of ours is an object of its own."""

from collections.abc import Mapping

from search_spaces.space import Value

DRAFT_TOKENS = 4


def speculation(value: str) -> dict[str, Value] | None:
    """vLLM's ``speculative_config`` for ``none``, ``ngram`` or ``draft:DIR``.

    Returns:
        ``None`` for ``none``: the setting is left out.

    Raises:
        ValueError: none of the three, or no folder after ``draft:``.
    """
    if value == "none":
        return None
    if value == "ngram":
        # Without `prompt_lookup_min` vLLM 0.32 takes the same number for it.
        return {"method": "ngram", "num_speculative_tokens": DRAFT_TOKENS, "prompt_lookup_max": 4}
    kind, _, model = value.partition(":")
    if kind == "draft" and model:
        return {"method": "draft_model", "model": model, "num_speculative_tokens": DRAFT_TOKENS}
    raise ValueError(f"`speculative_config` must be none, ngram or draft:DIR, but got {value!r}.")


def word_of(told: Mapping[str, object]) -> str | None:
    """What ``speculation`` makes so; ``None`` of any other object."""
    word = "ngram" if told.get("method") == "ngram" else f"draft:{told.get('model', '')}"
    return word if word != "draft:" and speculation(word) == dict(told) else None
