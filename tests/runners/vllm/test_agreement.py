import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from runners import EngineError, FailureKind, metrics
from runners.vllm.agreement import (
    CONTINUED_TOKENS,
    PROMPT_TOKENS,
    PROMPTS,
    THRESHOLD,
    Answers,
    agreement,
    answers,
    prompts,
)
from runners.vllm.command import resolve
from runners.vllm.server import Order, serving
from runners.vllm.start import PlainStart

POSITIONS = PROMPT_TOKENS - 1
ALL: Answers = ((0,) * (POSITIONS + CONTINUED_TOKENS),) * PROMPTS


def changed(prompt: int, *positions: int) -> Answers:
    tokens = [int(i in positions) for i in range(POSITIONS + CONTINUED_TOKENS)]
    return (*ALL[:prompt], tuple(tokens), *ALL[prompt + 1 :])


def test_the_same_answers_agree_in_full() -> None:
    assert agreement(ALL, ALL) == 1.0


def test_every_position_of_a_prompt_counts() -> None:
    assert agreement(ALL, changed(5, 0, 7)) == 1 - 2 / (PROMPTS * POSITIONS)


def test_a_continuation_counts_up_to_its_first_difference() -> None:
    other = changed(5, POSITIONS + 3, POSITIONS + 4, POSITIONS + 9)
    assert agreement(ALL, other) == 1 - 1 / ((PROMPTS - 1) * CONTINUED_TOKENS + 4)


def test_a_cache_that_only_decoding_reads_is_not_outvoted_by_prompts() -> None:
    wrong = tuple((0,) * POSITIONS + (1,) * CONTINUED_TOKENS for _ in range(PROMPTS))
    assert agreement(ALL, wrong) == 0.0 < THRESHOLD


def test_prompts_are_the_same_each_time_and_keep_off_special_tokens() -> None:
    made = prompts(4096)
    assert made == prompts(4096)
    assert (len(made), {len(prompt) for prompt in made}) == (PROMPTS, {PROMPT_TOKENS})
    assert min(map(min, made)) >= 409
    assert max(map(max, made)) < 3072


def position(prompt_token: int, best: int) -> dict[str, Any]:
    """As vLLM lists it: the prompt's own token first, then the best one."""
    own = {str(prompt_token): {"logprob": -9.0, "rank": 40, "decoded_token": "x"}}
    return {**own, str(best): {"logprob": -1.0, "rank": 1, "decoded_token": "y"}}


def completion(prompt: list[int], **changes: Any) -> dict[str, Any]:
    """A model that always predicts the token after the one it reads."""
    choice = {
        "text": "",
        "prompt_logprobs": [
            None,
            *(position(b, a + 1) for a, b in pairwise(prompt)),
        ],
        "token_ids": [prompt[-1] + 1 + i for i in range(CONTINUED_TOKENS)],
    }
    return {"choices": [{**choice, **changes}]}


@contextmanager
def completions(
    reply: Callable[[dict[str, Any]], tuple[int, object]],
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The address of a server that answers with the reply, and what it was sent."""
    sent: list[dict[str, Any]] = []

    class Completions(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            status, answer = reply(sent[-1])
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Completions) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", sent
        finally:
            server.shutdown()
            thread.join()


def test_answers_are_the_likeliest_tokens_of_each_prompt_in_turn() -> None:
    with completions(lambda body: (200, completion(body["prompt"]))) as (url, sent):
        given = answers(url, "tiny", 4096)
    assert [body["prompt"] for body in sent] == [list(prompt) for prompt in prompts(4096)]
    assert {key: value for key, value in sent[0].items() if key != "prompt"} == {
        "model": "tiny",
        "max_tokens": CONTINUED_TOKENS,
        "ignore_eos": True,
        "temperature": 0,
        "repetition_penalty": 1.0,
        "prompt_logprobs": 1,
        "return_token_ids": True,
    }
    first = prompts(4096)[0]
    ends = tuple(first[-1] + 1 + i for i in range(CONTINUED_TOKENS))
    assert given[0] == tuple(token + 1 for token in first[:-1]) + ends


@pytest.mark.parametrize(
    "changes",
    [
        {"prompt_logprobs": None},
        {"prompt_logprobs": [None]},
        {"prompt_logprobs": [None, *([{"5": {"rank": 2}}] * POSITIONS)]},
        {"prompt_logprobs": [None, *([{"x": {"rank": 1}}] * POSITIONS)]},
        {"prompt_logprobs": [None, *([5] * POSITIONS)]},
        {"token_ids": None},
        {"token_ids": [1]},
        {"token_ids": ["1"] * CONTINUED_TOKENS},
    ],
)
def test_a_server_without_prompt_logprobs_cannot_be_judged(changes: dict[str, Any]) -> None:
    reply = completion(list(prompts(4096)[0]), **changes)
    with completions(lambda _: (200, reply)) as (url, _), pytest.raises(EngineError) as caught:
        answers(url, "tiny", 4096)
    assert caught.value.failure.kind is FailureKind.REFUSED
    assert "must give `prompt_logprobs` and `token_ids`" in caught.value.failure.detail


def test_a_refusal_is_in_the_servers_words() -> None:
    refusal = {"error": {"message": "Requested prompt\nlogprobs of 1"}}
    with completions(lambda _: (400, refusal)) as (url, _), pytest.raises(EngineError) as caught:
        answers(url, "tiny", 4096)
    assert caught.value.failure.kind is FailureKind.REFUSED
    assert "HTTP 400 with: " in caught.value.failure.detail
    assert "\n" not in caught.value.failure.detail


def test_an_engine_that_breaks_or_is_gone_has_died() -> None:
    with completions(lambda _: (500, {})) as (url, _), pytest.raises(EngineError) as broken:
        answers(url, "tiny", 4096)
    with pytest.raises(EngineError) as gone:
        answers(url, "tiny", 4096)
    kinds = [error.value.failure.kind for error in (broken, gone)]
    assert kinds == [FailureKind.DIED, FailureKind.DIED]


@pytest.mark.timeout(600)
def test_vllm_agrees_with_itself_and_reports_every_metric(
    vllm_command: str, tiny_model: Path
) -> None:
    flags = "--enforce-eager --gpu-memory-utilization=0.1 --max-model-len=4096"
    order = Order(
        arguments=(f"--model={tiny_model}", "--load-format=dummy", *flags.split()),
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        inside=None,
    )
    start = PlainStart(resolve(vllm_command), None)
    with serving(order, start, ready_timeout_s=300) as server:
        once = answers(server.url, str(tiny_model), 4096)
        again = answers(server.url, str(tiny_model), 4096)
        snapshot = metrics.scrape(server.url, 10)
    assert agreement(once, again) == 1.0
    assert snapshot is not None
    assert snapshot.block_tokens == 128
    assert snapshot.kv_capacity_tokens
    speculative = {name for name in metrics.KNOWN if "spec_decode" in name}
    assert snapshot.values.keys() == metrics.KNOWN - speculative - {metrics.CACHE}
