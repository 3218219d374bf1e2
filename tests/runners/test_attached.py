import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from objectives import Load, Request, Workload
from runners import Description, EngineError, FailureKind, Runner
from runners.attached import AttachedRunner, Served, models, served_model
from runners.testing import RunnerContract
from runners.testing.server import Answer, CompletionServer
from search_spaces import Config

pytestmark = pytest.mark.usefixtures("busy_machine")
KEY = "SERVER_KEY"


def attached(url: str, **options: Any) -> AttachedRunner:
    given = {"model": None, "gpus": 1, "vocab_size": 4096, "api_key_env": None, **options}
    return AttachedRunner(url, **given)


class TestAttachedRunner(RunnerContract):
    @pytest.fixture
    def runner(self) -> Iterator[Runner]:
        with CompletionServer(Answer(ttft_s=0.005, gap_s=0.001)) as server:
            yield attached(server.url)

    @pytest.fixture
    def config(self) -> Config:
        return {}

    @pytest.fixture
    def unfit_config(self) -> Config:
        return {"max_num_seqs": 8}

    @pytest.fixture
    def leftovers(self) -> Callable[[], object]:
        return lambda: [t.name for t in threading.enumerate() if t.name.startswith("metrics of")]


@contextmanager
def pages(answers: dict[str, tuple[int, str]], header: str = "uvicorn") -> Iterator[str]:
    """A server of fixed answers, by path; anything else is 404."""

    class Pages(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, text = answers.get(self.path, (404, ""))
            self.send_response_only(status)
            self.send_header("Server", header)
            self.send_header("Location", "http://127.0.0.1:9/")
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def listing(*entries: dict[str, object]) -> dict[str, tuple[int, str]]:
    return {"/v1/models": (200, json.dumps({"object": "list", "data": entries}))}


TWO = listing({"id": "llama"}, {"id": "qwen", "max_model_len": 4096})
ONE = listing({"id": "llama"})


def test_it_says_which_server_it_measures() -> None:
    with CompletionServer() as server:
        assert attached(server.url).description == Description(
            engine="openai",
            version="0.32.0",
            simulated=False,
            uncertainty="Measured over the network on a server started elsewhere; anything "
            "between here and there, and any other traffic on it, is in the figures.",
            noiseless=False,
        )


@pytest.mark.parametrize(
    ("version", "header", "said"),
    [
        ((200, '{"version": "0.5.1"}'), "x", "0.5.1"),
        ((404, ""), "llama.cpp", "llama.cpp"),
        ((200, '{"version": 5}'), "TensorRT-LLM  1.0", "TensorRT-LLM 1.0"),
        ((404, ""), "uvicorn", "unknown"),
        ((200, '{"version": "a\\nb"}'), "uvicorn", "unknown"),
    ],
)
def test_a_version_is_what_the_server_says(
    version: tuple[int, str], header: str, said: str
) -> None:
    with pages({**ONE, "/version": version}, header) as url:
        assert attached(url).description.version == said


def test_an_engine_is_fresh_the_first_time_only() -> None:
    with CompletionServer() as server:
        runner = attached(server.url)
        with runner.launch({}) as first, runner.launch({}) as second:
            assert (first.fresh, second.fresh) == (True, False)


def test_a_measurement_says_what_was_offered_and_what_the_server_counted() -> None:
    requests = tuple(Request(0.02 * i, 20, 4) for i in range(5))
    load = Load(workload=Workload(name="light", requests=requests))
    with CompletionServer() as server:
        with attached(f"{server.url}/v1/", gpus=4).launch({}) as engine:
            measurement = engine.measure(load)
        sent = [exchange.body for exchange in server.exchanges]
    assert measurement.gpus == 4
    assert all(result.completed for result in measurement.results)
    told = dict(measurement.engine)
    assert told.pop("p99_send_lag_ms") >= 0
    # Gauges are read once a second: of so short a load only where the machine is slow.
    assert told.pop("mean_running", 0.0) == told.pop("mean_waiting", 0.0) == 0.0
    assert told == {
        "preemptions": 0.0,
        "prefix_cached_tokens": 0.0,
        "prefix_queried_tokens": 100.0,
        "engine_prompt_tokens": 100.0,
        "engine_generation_tokens": 20.0,
        "implied_prefix_tokens": 0,
    }
    assert [len(body["prompt"]) for body in sent] == [20] * 10  # five of them to warm it up


def test_no_prompt_is_sent_twice() -> None:
    load = Load(workload=Workload(name="one", requests=(Request(0.0, 20, 1),)))
    with CompletionServer() as server:
        with attached(server.url).launch({}) as engine:
            engine.measure(load)
            engine.measure(load)
        prompts = [tuple(exchange.body["prompt"]) for exchange in server.exchanges]
    assert len(prompts) == len(set(prompts)) == 3  # one of them to warm it up


def test_a_server_without_metrics_is_measured_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    load = Load(workload=Workload(name="one", requests=(Request(0.0, 20, 1),)))
    with CompletionServer() as server:
        monkeypatch.setattr(type(server.counters), "text", lambda *_: "")
        with attached(server.url).launch({}) as engine:
            assert engine.measure(load).engine.keys() == {"p99_send_lag_ms"}


def test_a_key_is_sent_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, "s3cret")
    load = Load(workload=Workload(name="one", requests=(Request(0.0, 20, 1),)))
    with CompletionServer(api_key="s3cret") as server:
        runner = attached(server.url, api_key_env=KEY)
        with runner.launch({}) as engine:
            assert engine.measure(load).results[0].completed
    assert "s3cret" not in repr((vars(runner), vars(engine)))


def test_the_models_of_a_server_are_in_its_order() -> None:
    with pages(TWO) as url:
        assert models(url) == ["llama", "qwen"]
        assert models(f"{url}/v1") == ["llama", "qwen"]


def test_the_only_model_needs_no_name_even_with_adapters() -> None:
    with_adapter = listing({"id": "lora", "parent": "llama"}, {"id": "llama", "parent": None})
    with pages(with_adapter) as url:
        assert served_model(url, None) == Served("llama")


def test_a_model_says_its_longest_request() -> None:
    with pages(TWO) as url:
        assert served_model(url, "qwen") == Served("qwen", max_model_len=4096)


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (None, "{url} serves llama, qwen: name one with --model."),
        ("lama", "{url} does not serve 'lama'; nearest: llama."),
        ("gpt", "{url} does not serve 'gpt'; nearest: llama, qwen."),
    ],
)
def test_the_model_must_be_one_that_is_served(model: str | None, sentence: str) -> None:
    with pages(TWO) as url, pytest.raises(ValueError, match="serve") as caught:
        served_model(url, model)
    assert str(caught.value) == sentence.format(url=url)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_says_where_it_comes_from(
    status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY, "s3cret")
    with pages({"/v1/models": (status, "bad key s3cret")}) as url:
        with pytest.raises(ValueError, match="answers HTTP 40") as unnamed:
            served_model(url, None)
        with pytest.raises(ValueError, match="answers HTTP 40") as named:
            served_model(url, None, api_key_env=KEY)
    assert str(unnamed.value) == (
        f"{url}/v1/models answers HTTP {status}: export its key and name the variable with "
        "--api-key-env."
    )
    assert str(named.value) == f"{url}/v1/models answers HTTP {status}: check the key in {KEY}."


@pytest.mark.parametrize(
    ("value", "reason"), [("", "not set"), ("a\nb", "no plain text"), ("ключ", "no plain text")]
)
def test_a_key_must_be_set(value: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, value)
    with pytest.raises(ValueError, match="must hold the server's API key") as caught:
        served_model("http://127.0.0.1:9", None, api_key_env=KEY)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    "answer",
    [
        (404, ""),
        (200, "<html>"),
        (200, "[]"),
        (200, '{"data": []}'),
        (200, '{"data": [{"id": 5}, 5]}'),
        (500, '{"data": [{"id": "llama"}]}'),
        (302, ""),
    ],
)
def test_what_lists_no_models_is_not_such_a_server(answer: tuple[int, str]) -> None:
    with pages({"/v1/models": answer}) as url, pytest.raises(EngineError) as caught:
        models(url)
    assert caught.value.failure.kind is FailureKind.HOST
    assert caught.value.failure.detail == (
        f"{url}/v1/models must list the models served, as OpenAI's API does, but answers HTTP "
        f"{answer[0]} without any; give the address before /v1 with --url"
    )


def test_a_server_that_is_not_there_is_the_hosts_trouble() -> None:
    with pages({}) as url:
        pass
    with pytest.raises(EngineError) as caught:
        models(url)
    assert caught.value.failure.kind is FailureKind.HOST
    assert caught.value.failure.detail == (
        f"{url}/v1/models does not answer: [Errno 111] Connection refused; start the server, or "
        "give its address with --url"
    )


@pytest.mark.parametrize("url", ["file:///etc/passwd", "127.0.0.1:8000", "http://", "http://a:b"])
def test_an_address_is_of_http(url: str) -> None:
    with pytest.raises(ValueError, match="An engine's address must be"):
        models(url)
