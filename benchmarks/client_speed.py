"""What one worker of the load client carries, as JSON: python -m benchmarks.client_speed

A server on one core streams small chunks at a stated total rate, each with the time at which it
was written; the client, on another core, notes when it read it. The rate is raised until the
client, or the server, no longer keeps up: `keeps_up` says that what was offered arrived on time.
"""

import asyncio
import gc
import multiprocessing
import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.machine import cpu_pressure_avg10_percent, options, publish
from objectives.statistics import percentile
from runners.load import Server
from runners.load.client import connected
from runners.load.sse import Stream

VOID_ABOVE_PERCENT = 5.0
KEPT = 0.95
"""Of the chunks a second that were asked for; less, and somebody did not keep up."""
STAMP = re.compile(rb'"sent":(\d+\.\d+)')
HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
    b"Connection: close\r\n\r\n"
)


@dataclass(slots=True)
class Stamped(Stream):
    """A stream that also notes how old each chunk was when it was read."""

    ages_s: list[float] = field(default_factory=list)

    def feed(self, read: bytes, now_s: float) -> None:
        # Named, because slots make another class of this one, which `super()` would not know.
        Stream.feed(self, read, now_s)
        self.ages_s += [now_s - float(sent) for sent in STAMP.findall(read)]


def event(payload: bytes) -> bytes:
    body = b"data: " + payload + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(body), body)


def chunk(*, last: bool) -> bytes:
    """What vLLM sends for one token, and the time of writing."""
    reason = b'"length"' if last else b"null"
    return event(
        b'{"id":"cmpl-2f0c5ce5d04a4a4f8d0a4c5a5b6c7d8e","object":"text_completion","created":'
        b'1700000000,"model":"tiny","choices":[{"index":0,"text":" one","logprobs":null,'
        b'"finish_reason":%s,"stop_reason":null,"token_ids":null,"prompt_logprobs":null}],'
        b'"usage":null,"sent":%.6f}' % (reason, time.monotonic())
    )


def usage(tokens: int) -> bytes:
    return event(b'{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":%d}}' % tokens)


async def stream(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, tokens: int, gap_s: float
) -> None:
    """One answer, its chunks at even times; written at once where it is behind."""
    head = await reader.readuntil(b"\r\n\r\n")
    if head.startswith(b"POST"):
        length = re.search(rb"content-length: (\d+)", head.lower())
        await reader.readexactly(int(length[1]) if length else 0)
        writer.write(HEAD)
        due_s = time.monotonic()
        for token in range(tokens):
            due_s += gap_s
            if (left_s := due_s - time.monotonic()) > 0:
                await asyncio.sleep(left_s)
            writer.write(chunk(last=token == tokens - 1))
        writer.write(usage(tokens) + event(b"[DONE]") + b"0\r\n\r\n")
    writer.close()


def serve(port: Connection, core: int, tokens: int, gap_s: float) -> None:
    """The server's process: raw sockets, since a web framework would be the slower of the two."""
    os.sched_setaffinity(0, {core})

    async def main() -> None:
        server = await asyncio.start_server(
            lambda r, w: stream(r, w, tokens, gap_s), "127.0.0.1", 0, backlog=1024
        )
        port.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())


async def read(port: int, streams: int) -> tuple[list[float], float, float, list[str]]:
    """(ages of chunks in seconds, seconds, CPU seconds, errors)."""
    kept: list[Stamped] = []

    def stamped() -> Stamped:
        kept.append(Stamped())
        return kept[-1]

    server = Server(url=f"http://127.0.0.1:{port}", model="tiny")
    async with connected(server, request_timeout_s=600.0, stream=stamped) as client:
        started_s, cpu_s = time.monotonic(), time.process_time()
        answers = await asyncio.gather(*(client.ask(b"{}") for _ in range(streams)))
        seconds = time.monotonic() - started_s
        cpu_s = time.process_time() - cpu_s
    errors = [answer.error for answer in answers if answer.error is not None]
    return [age for one in kept for age in one.ages_s], seconds, cpu_s, errors


def at_rate(
    chunks_per_s: float, streams: int, seconds: float, cores: Sequence[int]
) -> dict[str, Any]:
    """One run of `streams` answers at once that share the rate evenly."""
    tokens = max(2, round(chunks_per_s * seconds / streams))
    ours, theirs = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    server = context.Process(
        target=serve, args=(theirs, cores[0], tokens, streams / chunks_per_s), daemon=True
    )
    server.start()
    try:
        ages_s, took_s, cpu_s, errors = asyncio.run(read(ours.recv(), streams))
    finally:
        server.kill()
        server.join()
    ordered_ms = [1000 * age_s for age_s in sorted(ages_s)]
    carried = len(ages_s) / took_s
    return {
        "asked_chunks_per_s": chunks_per_s,
        "chunks_per_s": round(carried),
        "keeps_up": not errors and carried >= KEPT * chunks_per_s,
        "client_cpu_share": round(cpu_s / took_s, 3),
        "p50_added_ms": round(percentile(ordered_ms, 0.50), 3),
        "p99_added_ms": round(percentile(ordered_ms, 0.99), 3),
        "errors": len(errors),
    }


def measure(rates: Sequence[float], streams: int, seconds: float) -> Mapping[str, Any]:
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("The server and the client need a core each, but there is one core.")
    pressure = cpu_pressure_avg10_percent()
    os.sched_setaffinity(0, {cores[1]})
    gc.disable()
    runs = [at_rate(rate, streams, seconds, cores) for rate in rates]
    os.sched_setaffinity(0, cores)
    return {
        # Looked at before the runs only: they keep two cores busy themselves.
        "void": pressure is None or pressure > VOID_ABOVE_PERCENT,
        "streams": streams,
        "seconds": seconds,
        "runs": runs,
    }


def main() -> None:
    parser = options(__doc__)
    parser.add_argument(
        "--rates", type=float, nargs="+", default=[5_000, 10_000, 15_000, 20_000, 25_000, 30_000]
    )
    parser.add_argument("--streams", type=int, default=200, help="answers at once (200)")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each run (5)")
    given = parser.parse_args()
    publish(lambda: measure(given.rates, given.streams, given.seconds), given.out)


if __name__ == "__main__":
    main()
