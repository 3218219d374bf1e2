"""A worker process: its share of a load is sent from here, where nothing else needs the GIL.

It speaks with its parent as ``runners.load.job`` says, and ends when its standard input does.
"""

import asyncio
import gc
import json
import os
import resource
import sys
from collections.abc import Callable

from objectives import Request
from runners.load.client import Client, connected
from runners.load.job import Finished, Job, news
from runners.load.prompts import (
    Prompts,
    TextPrompts,
    TokenPrompts,
    body,
    calibrated,
    calibration_texts,
)
from runners.load.schedule import Prepared, Sending, run

FLUSH_S = 0.05
JOB_BYTES = 1 << 30
Say = Callable[[bytes], None]


class CannotBegin(Exception):
    """The server's answers do not allow this load; the message says why."""


async def work(job: Job, start: "asyncio.Future[float]", say: Say) -> None:
    """Prepare, say so, wait for the start, send, and say what finished until it is over."""
    async with connected(job.server, request_timeout_s=job.request_timeout_s) as client:
        await client.greet()
        prompts = await _prompts(job, client)
        prepared = [
            Prepared(
                one.index,
                one.request.arrival_s - job.first_s,
                body(job.server, prompts.prompt(one), one.request),
            )
            for one in job.requests
        ]
        gc.collect()
        gc.freeze()
        gc.disable()
        say(b'{"ready": true}\n')
        await _sent(job, prepared, client, await start, say)


async def _sent(
    job: Job, prepared: list[Prepared], client: Client, start_s: float, say: Say
) -> None:
    sent: list[tuple[int, float]] = []
    finished: list[Finished] = []

    def flush() -> None:
        if sent or finished:
            say(news(sent, finished))
            sent.clear()
            finished.clear()

    async def flushing() -> None:
        while True:
            await asyncio.sleep(FLUSH_S)
            flush()

    flusher = asyncio.create_task(flushing())
    try:
        over_s = await run(job, prepared, Sending(client, start_s, finished.append, sent.append))
    finally:
        flusher.cancel()
        flush()
    say(json.dumps({"over": over_s}).encode() + b"\n")


async def _prompts(job: Job, client: Client) -> Prompts:
    if job.server.vocab_size is not None:
        return TokenPrompts(
            vocab_size=job.server.vocab_size, salt=job.salt, block_tokens=job.block_tokens
        )
    counts = [await _counted(job, text, client) for text in calibration_texts()]
    try:
        calibration = calibrated(*counts)
    except ValueError as wrong:
        raise CannotBegin(str(wrong)) from None
    return TextPrompts(calibration=calibration, salt=job.salt, block_tokens=job.block_tokens)


async def _counted(job: Job, text: str, client: Client) -> int:
    one = Request(arrival_s=0.0, input_tokens=1, output_tokens=1)
    answer = await client.ask(b"".join(body(job.server, (json.dumps(text).encode(),), one)))
    if answer.error is not None:
        raise CannotBegin(
            f"A server must say how many tokens a text prompt has, but it answered: {answer.error}"
        )
    return answer.prompt_tokens


async def _listen(
    orders: asyncio.StreamReader, start: "asyncio.Future[float]", at_work: "asyncio.Task[None]"
) -> None:
    if line := await orders.readline():
        start.set_result(float(line))
        await orders.read()
    at_work.cancel()


async def _main() -> None:
    loop = asyncio.get_running_loop()
    orders = asyncio.StreamReader(limit=JOB_BYTES)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    # A pipe that buffers: waiting for a busy parent would hold up every answer.
    out, _ = await loop.connect_write_pipe(asyncio.Protocol, sys.stdout)
    line = await orders.readline()
    if not line:
        return
    job = Job.parse(line)
    _many_connections()
    if job.cores:
        os.sched_setaffinity(0, job.cores)
    start: asyncio.Future[float] = loop.create_future()
    at_work = asyncio.create_task(work(job, start, out.write))
    listening = asyncio.create_task(_listen(orders, start, at_work))
    try:
        await at_work
    except CannotBegin as why:
        out.write(json.dumps({"failed": str(why)}).encode() + b"\n")
    except asyncio.CancelledError:
        # The parent asked for the end; it knows when it did.
        pass
    listening.cancel()
    while out.get_write_buffer_size():
        await asyncio.sleep(FLUSH_S / 10)
    out.close()


def _many_connections() -> None:
    """Requests that arrive all at once may be more than a process may by default open."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


if __name__ == "__main__":
    asyncio.run(_main())
