"""The middleware before an application and engines that only remember what they were asked."""

import asyncio
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

Modules = Callable[[str], Any]
Ask = Callable[..., tuple[int, Any]]
BEARER = (b"authorization", b"Bearer secret")


class Engines:
    """Two data-parallel engines with one knob."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []

    async def call_utility_all_async(self, method: str, knobs: dict[str, Any]) -> list[Any]:
        self.asked.append((method, knobs))
        if knobs.get("max_num_seqs") == 0:
            return [{"error": "Too few."}] * 2
        return [
            {"knobs": {"max_num_seqs": 4}, "running": 1, "waiting": 0},
            {"knobs": {"max_num_seqs": 4}, "running": 2, "waiting": 3},
        ]


class OneEngine:
    """A client that knows no ``call_utility_all_async``."""

    async def call_utility_async(self, method: str, knobs: dict[str, Any]) -> Any:
        return {"knobs": {"max_num_seqs": 4}, "running": 2, "waiting": 3}


@pytest.fixture
def engines() -> Engines:
    return Engines()


@pytest.fixture
def ask(modules: Modules, engines: Engines, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """The status and the JSON that a request is answered with; 204 is the application's."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b"null"})

    def ask(
        method: str = "GET",
        *chunks: bytes,
        path: str = "/paretune/knobs",
        token: str | None = "secret",
        headers: tuple[tuple[bytes, bytes], ...] = (BEARER,),
        core: Any = None,
    ) -> tuple[int, Any]:
        monkeypatch.delenv("PARETUNE_TOKEN", raising=False)
        if token is not None:
            monkeypatch.setenv("PARETUNE_TOKEN", token)
        middleware = modules("paretune_knobs").knobs(application)
        state = SimpleNamespace(engine_client=SimpleNamespace(engine_core=core or engines))
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "headers": list(headers),
            "app": SimpleNamespace(state=state),
        }
        sent: list[dict[str, Any]] = []
        left = list(chunks) or [b""]

        async def receive() -> dict[str, Any]:
            chunk = left.pop(0)
            return {"type": "http.request", "body": chunk, "more_body": bool(left)}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        asyncio.run(middleware(scope, receive, send))
        return sent[0]["status"], json.loads(sent[1]["body"])

    return ask


ANSWER = {"knobs": {"max_num_seqs": 4}, "running": 3, "waiting": 3}


def test_get_tells_the_knobs_and_what_runs_and_waits_in_all_engines(
    ask: Ask, engines: Engines
) -> None:
    assert ask("GET") == (200, ANSWER)
    assert engines.asked == [("paretune_knobs", {})]


def test_post_turns_the_knobs_of_every_engine(ask: Ask, engines: Engines) -> None:
    assert ask("POST", b'{"max_num', b'_seqs":4}') == (200, ANSWER)
    assert engines.asked == [("paretune_knobs", {"max_num_seqs": 4})]


def test_a_client_of_one_engine_is_enough(ask: Ask) -> None:
    answer = {"knobs": {"max_num_seqs": 4}, "running": 2, "waiting": 3}
    assert ask("GET", core=OneEngine()) == (200, answer)


def test_what_the_engine_refuses_is_a_bad_request(ask: Ask) -> None:
    assert ask("POST", b'{"max_num_seqs":0}') == (400, {"error": "Too few."})


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b"1", b"[" * 9999])
def test_a_body_that_is_no_json_object_is_a_bad_request(
    ask: Ask, engines: Engines, body: bytes
) -> None:
    assert ask("POST", body) == (400, {"error": "The body must be a JSON object of knobs."})
    assert engines.asked == []


def test_a_body_without_end_is_cut_off(ask: Ask, engines: Engines) -> None:
    answer = {"error": "The body must not exceed 16384 bytes."}
    assert ask("POST", *[b" " * 4096] * 5) == (413, answer)
    assert engines.asked == []


@pytest.mark.parametrize(
    "headers",
    [
        (),
        ((b"authorization", b"Bearer wrong"),),
        ((b"authorization", b"secret"),),
        ((b"authorization", b"Bearer \xff"),),
    ],
)
def test_the_token_is_asked_for(
    ask: Ask, engines: Engines, headers: tuple[tuple[bytes, bytes], ...]
) -> None:
    answer = {"error": "`Authorization: Bearer` must carry PARETUNE_TOKEN."}
    assert ask("POST", b"{}", headers=headers) == (401, answer)
    assert engines.asked == []


@pytest.mark.parametrize("token", [None, ""])
def test_without_a_token_there_is_nothing_here(ask: Ask, token: str | None) -> None:
    bearer = ((b"authorization", b"Bearer "),)
    answer = {"error": "PARETUNE_TOKEN is not set."}
    assert ask("GET", token=token, headers=bearer) == (404, answer)


def test_other_methods_are_refused(ask: Ask) -> None:
    answer = {"error": "The method must be GET or POST, but got DELETE."}
    assert ask("DELETE") == (405, answer)


def test_other_paths_are_the_applications(ask: Ask) -> None:
    assert ask("GET", path="/v1/models", headers=()) == (204, None)
