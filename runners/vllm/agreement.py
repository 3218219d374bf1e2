"""The gate of lossy settings: how often a config answers as the default config does.

Greedy predictions on fixed random prompts, at every position of the prompt and of a short
continuation. Both are needed: positions of the prompt are many, but a backend may attend to them
before they are quantised into the KV cache; decode steps always read the cache. Prompts reach
over a whole KV block of vLLM's largest default (128 tokens, on CPU): in the 0.32 CPU build,
`int8_per_token_head` goes wrong in a block's second half only.

One request at a time, because rounding depends on what is batched together. So asked, two launches
of the 0.32 CPU build agree in full, and in 99.9 % where prompts are cut into other chunks. With
random weights of a trained model's size an fp8 KV cache agrees in 91 %: their predictions are
closer together than a trained model's. Those of ``--load-format dummy`` tell nothing: they are so
small that no prediction depends on its context, and every config agrees.
"""

import random
from collections.abc import Iterable, Sequence

from runners.base import EngineError, FailureKind
from runners.plain_http import ask, place

THRESHOLD = 0.99
PROMPTS = 64
PROMPT_TOKENS = 160
CONTINUED_TOKENS = 16
Answers = tuple[tuple[int, ...], ...]
"""Per prompt: the greedy token after each of its tokens but the last, then the continuation."""


def answers(url: str, model: str, vocab_size: int, *, timeout_s: float = 60.0) -> Answers:
    """What the engine predicts; about a thousand decode steps.

    Raises:
        EngineError: it does not answer, or not in vLLM's way.
    """
    return tuple(
        _predictions(f"{url.rstrip('/')}/v1/completions", model, prompt, timeout_s)
        for prompt in prompts(vocab_size)
    )


def agreement(reference: Answers, other: Answers) -> float:
    """The share of equal predictions: the lower one of prompts and continuations.

    A continuation counts up to its first difference; what follows had another context.
    """
    pairs = list(zip(reference, other, strict=True))
    read = [_equal(a[:-CONTINUED_TOKENS], b[:-CONTINUED_TOKENS]) for a, b in pairs]
    written = [
        _to_first_difference(_equal(a[-CONTINUED_TOKENS:], b[-CONTINUED_TOKENS:]))
        for a, b in pairs
    ]
    return min(_share(read), _share(written))


def prompts(vocab_size: int) -> tuple[tuple[int, ...], ...]:
    """Token ids, the same ones each time, away from both ends of the vocabulary.

    Special tokens are found there, and a model may treat those in ways of its own.
    """
    rng = random.Random(0)  # noqa: S311
    low, high = vocab_size // 10, vocab_size * 3 // 4
    return tuple(tuple(rng.choices(range(low, high), k=PROMPT_TOKENS)) for _ in range(PROMPTS))


def _predictions(
    url: str, model: str, prompt: tuple[int, ...], timeout_s: float
) -> tuple[int, ...]:
    body = {
        "model": model,
        "prompt": prompt,
        "max_tokens": CONTINUED_TOKENS,
        "ignore_eos": True,
        "temperature": 0,
        # A model's generation_config.json may set another.
        "repetition_penalty": 1.0,
        # Such requests do not read the prefix cache either.
        "prompt_logprobs": 1,
        "return_token_ids": True,
    }
    try:
        answer = ask(url, timeout_s, body=body)
    except ConnectionError as error:
        raise EngineError(FailureKind.DIED, str(error)) from None
    if answer.status >= 500:
        raise EngineError(FailureKind.DIED, f"{place(url)} answers with HTTP {answer.status}")
    predicted = _read(answer.json())
    if predicted is None:
        raise EngineError(
            FailureKind.REFUSED,
            f"{place(url)} must give `prompt_logprobs` and `token_ids` as vLLM 0.32 does for the "
            f"agreement of lossy settings to be known, but answers HTTP {answer.status} with: "
            f"{' '.join(answer.text.split())[:200]}",
        )
    return predicted


def _read(answer: object) -> tuple[int, ...] | None:
    """The predictions of one completion; ``None`` when it is another kind of answer."""
    match answer:
        case {"choices": [{"prompt_logprobs": [None, *positions], "token_ids": [*written]}, *_]}:
            read = [_best(position) for position in positions]
        case _:
            return None
    tokens = [*read, *written]
    numbers = tuple(token for token in tokens if isinstance(token, int))
    whole = len(written) == CONTINUED_TOKENS and len(read) == PROMPT_TOKENS - 1
    return numbers if whole and len(numbers) == len(tokens) else None


def _best(position: object) -> int | None:
    """The likeliest token of ``{token id: {"rank": ...}}``; the prompt's own is listed too."""
    if not isinstance(position, dict):
        return None
    best = [
        token
        for token, value in position.items()
        if isinstance(value, dict) and value.get("rank") == 1
    ]
    return int(best[-1]) if best and best[-1].isdecimal() else None


def _equal(one: Sequence[int], other: Sequence[int]) -> list[bool]:
    return [a == b for a, b in zip(one, other, strict=True)]


def _to_first_difference(equal: list[bool]) -> list[bool]:
    return equal[: equal.index(False) + 1] if False in equal else equal


def _share(equal: Iterable[list[bool]]) -> float:
    every = [one for prompt in equal for one in prompt]
    return sum(every) / len(every)
