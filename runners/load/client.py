"""One request over HTTP: sent, streamed, timed; whatever goes wrong is a short message."""

import json
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import aiohttp

from runners.load.server import Server
from runners.load.sse import Stream, one_line, said

IDLE_S = 3.0
"""A connection idle for longer is not used again: uvicorn closes one after 5 s, and a request
sent at that moment would fail."""
ERROR_BYTES = 4096
GREETING_S = 5.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; times are of the monotonic clock."""

    end_s: float
    first_s: float = 0.0
    last_s: float = 0.0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    error: str | None = None


class Client:
    """Connections to one server, kept open between requests."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        server: Server,
        *,
        secret: str | None = None,
        stream: Callable[[], Stream] = Stream,
    ) -> None:
        self._session, self._secret, self._stream = session, secret, stream
        self._url = f"{server.url}/v1/completions"
        self._models_url = f"{server.url}/v1/models"

    async def greet(self) -> None:
        """Have what a first request needs ready: a name resolved, modules imported.

        What the server makes of it does not matter here.
        """
        limit = aiohttp.ClientTimeout(total=GREETING_S)
        with suppress(aiohttp.ClientError, OSError, TimeoutError):
            async with self._session.get(self._models_url, timeout=limit) as response:
                await response.read()

    async def ask(self, body: bytes) -> Answer:
        """Send one request and read its answer to the end."""
        stream = self._stream()
        try:
            error = await self._read(body, stream)
        except TimeoutError:
            error = f"no whole answer within {self._session.timeout.total:g} s"
        except aiohttp.ClientPayloadError:
            error = "the answer was cut short"
        except aiohttp.ServerDisconnectedError:
            error = "the server closed the connection"
        except aiohttp.ClientConnectorError as refused:
            error = f"cannot connect: {_reason(refused.os_error)}"
        except OSError as broken:
            error = f"the connection broke: {_reason(broken)}"
        except aiohttp.ClientError as other:
            error = one_line(f"{type(other).__name__}: {other}")
        end_s = time.monotonic()
        if error is not None:
            return Answer(end_s, error=self._unsaid(error))
        return Answer(
            end_s,
            first_s=stream.first_s or end_s,
            last_s=stream.last_s or end_s,
            prompt_tokens=stream.prompt_tokens or 0,
            completion_tokens=stream.completion_tokens or 0,
        )

    async def _read(self, body: bytes, stream: Stream) -> str | None:
        async with self._session.post(self._url, data=body, allow_redirects=False) as response:
            content = response.content
            if response.status != 200:
                return f"HTTP {response.status}: {_explained(await content.read(ERROR_BYTES))}"
            clock = time.monotonic
            # To the end rather than to [DONE], so that the connection can be used again.
            while read := await content.readany():
                stream.feed(read, clock())
        return stream.failure

    def _unsaid(self, error: str) -> str:
        """Servers may quote the key they refuse."""
        return error.replace(self._secret, "***") if self._secret else error


@asynccontextmanager
async def connected(
    server: Server, *, request_timeout_s: float, stream: Callable[[], Stream] = Stream
) -> AsyncIterator[Client]:
    secret = os.environ.get(server.api_key_env) if server.api_key_env else None
    headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
    if secret:
        headers["Authorization"] = f"Bearer {secret}"
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_S),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=request_timeout_s),
        headers=headers,
        auto_decompress=False,
    ) as session:
        yield Client(session, server, secret=secret, stream=stream)


def _explained(body: bytes) -> str:
    try:
        return said(json.loads(body))
    except (ValueError, RecursionError):
        return one_line(body.decode("utf-8", "replace")) or "no explanation"


def _reason(error: OSError) -> str:
    return one_line(os.strerror(error.errno) if error.errno and error.errno > 0 else str(error))
