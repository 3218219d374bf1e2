"""A small real completion server that is as slow, and as wrong, as it was told to be.

It speaks what vLLM does under ``/v1/completions``, ``/v1/models``, ``/health``, ``/version`` and
``/metrics``, on 127.0.0.1 and a free port, from a thread of its own; and it keeps what it was
sent and when it answered.
"""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from types import TracebackType
from typing import Any, Self

from aiohttp import web

VERSION = "0.32.0"
LONGEST_BODY_BYTES = 1 << 28


class Fault(StrEnum):
    """What may be wrong with an answer."""

    ERROR_500 = "500"
    OVERLOADED_503 = "503"
    TRUNCATED = "the connection is closed in the middle"
    UNFINISHED = "the stream ends without finish_reason, usage and [DONE]"
    GARBAGE = "something that is not JSON in the stream"
    ERROR_IN_STREAM = "an error object in the stream"
    NO_USAGE = "no usage"
    ABORTED = "finish_reason is abort"
    HANG = "nothing after the first token"
    SILENT = "nothing at all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """How one request is answered."""

    ttft_s: float = 0.0
    gap_s: float = 0.0
    """Between one token and the next."""
    fault: Fault | None = None
    output_tokens: int | None = None
    """``None``: as many as asked for."""


@dataclass(slots=True)
class Exchange:
    """One request and its answer; times are of the monotonic clock."""

    body: dict[str, Any]
    received_s: float
    tokens_s: list[float] = field(default_factory=list)
    """When each token was written."""
    whole: bool = False

    @property
    def prompt_tokens(self) -> int:
        """Token ids count as they are; of a text, the words and one that starts it."""
        prompt = self.body["prompt"]
        return len(prompt) if isinstance(prompt, list) else 1 + len(prompt.split())


Script = Callable[[dict[str, Any], int], Answer]
"""From a request's body and its number, counted from 0, to its answer."""


@dataclass(slots=True)
class Counters:
    """What ``/metrics`` says."""

    running: int = 0
    successes: int = 0
    prompt_tokens: int = 0
    generation_tokens: int = 0

    def text(self, model: str) -> str:
        values = {
            "num_requests_running": ("gauge", self.running),
            "num_requests_waiting": ("gauge", 0),
            "num_preemptions_total": ("counter", 0),
            "prompt_tokens_total": ("counter", self.prompt_tokens),
            "generation_tokens_total": ("counter", self.generation_tokens),
            "prefix_cache_queries_total": ("counter", self.prompt_tokens),
            "prefix_cache_hits_total": ("counter", 0),
            "request_success_total": ("counter", self.successes),
        }
        lines = []
        for name, (kind, value) in values.items():
            reason = ',finished_reason="length"' if name == "request_success_total" else ""
            lines.append(f"# TYPE vllm:{name} {kind}")
            lines.append(f'vllm:{name}{{engine="0",model_name="{model}"{reason}}} {value}.0')
        return "\n".join(lines) + "\n"


class CompletionServer:
    """Runs from entering the context to leaving it.

    Args:
        answer: how each request is answered; at once and in full by default.
        api_key: refuse requests without it.
        token_ids: whether prompts may be lists of token ids; refused with 400 otherwise.
        port: to listen on; a free one by default.
    """

    def __init__(
        self,
        answer: Script | Answer = Answer(),
        *,
        model: str = "tiny",
        api_key: str | None = None,
        token_ids: bool = True,
        port: int = 0,
    ) -> None:
        self._script: Script = (lambda *_: answer) if isinstance(answer, Answer) else answer
        self.model, self._api_key, self._token_ids = model, api_key, token_ids
        self.exchanges: list[Exchange] = []
        """In the order in which they came."""
        self.counters = Counters()
        self.port = port
        self._loop: asyncio.AbstractEventLoop
        self._closing: asyncio.Event
        self._listening = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        self._listening.wait()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join()

    async def _serve(self) -> None:
        self._loop, self._closing = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application(client_max_size=LONGEST_BODY_BYTES)
        app.router.add_get("/health", self._health)
        app.router.add_get("/version", self._version)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/completions", self._completions)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self.port)
        await site.start()
        self.port = runner.addresses[0][1]
        self._listening.set()
        await self._closing.wait()
        await runner.cleanup()

    async def _health(self, _: web.Request) -> web.Response:
        return web.Response()

    async def _version(self, _: web.Request) -> web.Response:
        return web.json_response({"version": VERSION})

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(text=self.counters.text(self.model))

    async def _models(self, _: web.Request) -> web.Response:
        about = {"id": self.model, "object": "model", "max_model_len": 1 << 20}
        return web.json_response({"object": "list", "data": [about]})

    async def _completions(self, request: web.Request) -> web.StreamResponse:
        received_s = time.monotonic()
        body = await request.json()
        if self._api_key and request.headers.get("Authorization") != f"Bearer {self._api_key}":
            given = request.headers.get("Authorization", "none")
            return _refused(401, f"This API key is not valid: {given}.")
        if isinstance(body["prompt"], list) and not self._token_ids:
            return _refused(400, "`prompt` must be a string.")
        exchange = Exchange(body, received_s)
        plan = self._script(body, len(self.exchanges))
        self.exchanges.append(exchange)
        self.counters.running += 1
        try:
            return await self._answer(request, exchange, plan)
        except ConnectionResetError:
            # The client left; there is nobody to be told.
            return web.Response()
        finally:
            self.counters.running -= 1

    async def _answer(
        self, request: web.Request, exchange: Exchange, plan: Answer
    ) -> web.StreamResponse:
        match plan.fault:
            case Fault.ERROR_500:
                return _refused(500, "EngineCore encountered an issue.\n\nSee stack trace.")
            case Fault.OVERLOADED_503:
                return _refused(503, "The queue is full.")
            case Fault.SILENT:
                await asyncio.Event().wait()
        if not exchange.body.get("stream"):
            return await self._in_one(exchange, plan)
        return await self._streamed(request, exchange, plan)

    async def _tokens(self, exchange: Exchange, plan: Answer) -> AsyncIterator[bool]:
        """A turn for each token when it is due, and whether it is the last."""
        count = plan.output_tokens or exchange.body["max_tokens"]
        for token in range(count):
            due_s = exchange.received_s + plan.ttft_s + plan.gap_s * token
            if (left_s := due_s - time.monotonic()) > 0:
                await asyncio.sleep(left_s)
            exchange.tokens_s.append(time.monotonic())
            self.counters.generation_tokens += 1
            if token == 0:
                self.counters.prompt_tokens += exchange.prompt_tokens
            yield token == count - 1

    async def _in_one(self, exchange: Exchange, plan: Answer) -> web.Response:
        async for _ in self._tokens(exchange, plan):
            pass
        self._finished(exchange)
        whole = _chunk(self.model, " one" * len(exchange.tokens_s), "length")
        return web.json_response({**whole, "usage": _usage(exchange)})

    async def _streamed(
        self, request: web.Request, exchange: Exchange, plan: Answer
    ) -> web.StreamResponse:
        async with _stream(request) as response:
            async for last in self._tokens(exchange, plan):
                reason = "abort" if plan.fault is Fault.ABORTED else "length"
                unfinished = plan.fault is Fault.UNFINISHED
                chunk = _chunk(self.model, " one", reason if last and not unfinished else None)
                await _send(response, chunk)
                if await self._spoiled(request, response, plan.fault):
                    return response
            if plan.fault is Fault.UNFINISHED:
                return response
            if plan.fault is not Fault.NO_USAGE:
                await _send(response, {"choices": [], "usage": _usage(exchange)})
            await response.write(b"data: [DONE]\n\n")
            self._finished(exchange)
        return response

    async def _spoiled(
        self, request: web.Request, response: web.StreamResponse, fault: Fault | None
    ) -> bool:
        """Do what goes wrong after a token; whether there is nothing to be said after it."""
        match fault:
            case Fault.TRUNCATED if request.transport is not None:
                request.transport.abort()
                return True
            case Fault.GARBAGE:
                await response.write(b"data: {]\n\n")
            case Fault.ERROR_IN_STREAM:
                await _send(response, {"error": {"message": "The engine died.", "code": 500}})
                return True
            case Fault.HANG:
                await asyncio.Event().wait()
        return False

    def _finished(self, exchange: Exchange) -> None:
        exchange.whole = True
        self.counters.successes += 1


def _refused(status: int, message: str) -> web.Response:
    return web.json_response({"error": {"message": message, "code": status}}, status=status)


@asynccontextmanager
async def _stream(request: web.Request) -> AsyncIterator[web.StreamResponse]:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
    await response.prepare(request)
    yield response
    if request.transport is not None and not request.transport.is_closing():
        await response.write_eof()


async def _send(response: web.StreamResponse, chunk: dict[str, Any]) -> None:
    """As compact as vLLM's own."""
    await response.write(b"data: " + json.dumps(chunk, separators=(",", ":")).encode() + b"\n\n")


def _chunk(model: str, text: str, reason: str | None) -> dict[str, Any]:
    choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": reason}
    return {"id": "cmpl-0", "object": "text_completion", "model": model, "choices": [choice]}


def _usage(exchange: Exchange) -> dict[str, int]:
    counts = exchange.prompt_tokens, len(exchange.tokens_s)
    return {
        "prompt_tokens": counts[0],
        "completion_tokens": counts[1],
        "total_tokens": sum(counts),
    }
