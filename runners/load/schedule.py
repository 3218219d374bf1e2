"""Requests sent when they are due: at their times in an open loop, as slots free up in a closed.

The clock is the monotonic one, which the event loop and all processes of a machine share.
"""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from runners.load.client import Client
from runners.load.job import Finished, Job
from runners.load.prompts import Body

SPIN_S = 0.001
"""The event loop's timers are a millisecond coarse; the rest is waited for in its turns."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request ready to be sent."""

    index: int
    due_s: float
    """From the start of the run; a closed loop has its own."""
    body: Body


@dataclass(slots=True)
class Sending:
    """One run, as one worker sees it."""

    client: Client
    start_s: float
    """When the run starts, on the monotonic clock."""
    report: Callable[[Finished], None]
    sent: Callable[[tuple[int, float]], None]
    """Told of each request of a closed loop, and when it was due from the start of the run."""
    deadline_s: float = math.inf
    """When the run ends, on the monotonic clock: what ends later has not been answered."""

    async def send(self, one: Prepared, due_s: float) -> None:
        """Send a request that was due at ``due_s`` of the monotonic clock; latency from then."""
        lag_ms = 1000 * max(0.0, time.monotonic() - due_s)
        answer = await self.client.ask(b"".join(one.body))
        if answer.end_s > self.deadline_s:
            return
        arrival_s, end_s = due_s - self.start_s, answer.end_s - self.start_s
        if answer.error is not None:
            self.report(Finished(one.index, arrival_s, end_s, lag_ms, error=answer.error))
            return
        self.report(
            Finished(
                one.index,
                arrival_s,
                answer.last_s - self.start_s,
                lag_ms,
                ttft_ms=1000 * (answer.first_s - due_s),
                e2el_ms=1000 * (answer.last_s - due_s),
                prompt_tokens=answer.prompt_tokens,
                completion_tokens=answer.completion_tokens,
            )
        )


async def run(job: Job, requests: Sequence[Prepared], sending: Sending) -> float:
    """Send everything and wait for it; seconds from the start to the end of the run."""
    loop = _open_loop if job.concurrency is None else _closed_loop
    try:
        async with asyncio.timeout(None) as limit:
            await loop(job, requests, sending, limit)
    except TimeoutError:
        pass
    return min(time.monotonic(), sending.deadline_s) - sending.start_s


async def _open_loop(
    job: Job, requests: Sequence[Prepared], sending: Sending, limit: asyncio.Timeout
) -> None:
    _ends(sending, limit, sending.start_s + job.last_s - job.first_s + job.patience_s)
    async with asyncio.TaskGroup() as group:
        for one in requests:
            due_s = sending.start_s + one.due_s
            await until(due_s)
            group.create_task(sending.send(one, due_s))


async def _closed_loop(
    job: Job, requests: Sequence[Prepared], sending: Sending, limit: asyncio.Timeout
) -> None:
    """Requests leave in their order; the patience counts from when the last one does."""
    concurrency = job.concurrency or 1
    waiting = iter(requests[concurrency:])
    last = requests[-1]

    async def slot(one: Prepared | None) -> None:
        due_s = sending.start_s
        while one is not None:
            if one is last:
                _ends(sending, limit, due_s + job.patience_s)
            sending.sent((one.index, due_s - sending.start_s))
            await sending.send(one, due_s)
            # Nothing is awaited between the two: who frees up first takes the next one.
            due_s, one = time.monotonic(), next(waiting, None)

    await until(sending.start_s)
    async with asyncio.TaskGroup() as group:
        for one in requests[:concurrency]:
            group.create_task(slot(one))


def _ends(sending: Sending, limit: asyncio.Timeout, deadline_s: float) -> None:
    if math.isfinite(deadline_s):
        sending.deadline_s = deadline_s
        limit.reschedule(deadline_s)


async def until(due_s: float) -> None:
    """Come back at this time of the monotonic clock, other tasks having their turns."""
    while (left_s := due_s - time.monotonic()) > 0:
        await asyncio.sleep(max(0.0, left_s - SPIN_S))
