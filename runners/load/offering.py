"""A load offered to a server, from worker processes; the engine is watched meanwhile."""

import math
import os
import time
from collections.abc import Callable

from objectives import Load, Workload
from runners.base import EngineError, Failure, FailureKind
from runners.load.job import jobs
from runners.load.server import Run, Server
from runners.load.shards import Shards
from runners.load.tally import Tally

POLL_S = 0.05
LAST_LOOK_S = 1.0
"""Connections of a dying engine break before it has died: how long to wait for its reason."""
CHUNKS_PER_S = 15_000
"""What one worker is given; ``benchmarks.client_speed`` says what one carries."""
FAST_TOKENS_PER_S = 100
"""Of one request: what an answer is taken to stream at where the workload gives no rate."""


def untroubled() -> None:
    """Nothing is known of the engine but what it answers."""


def offer(
    server: Server,
    load: Load,
    *,
    salt: str,
    cores: frozenset[int] = frozenset(),
    trouble: Callable[[], Failure | None] = untroubled,
    request_timeout_s: float = 600.0,
) -> Run:
    """Send every request when it is due and wait for the answers.

    Args:
        salt: prompts repeat under the same salt only.
        cores: where the workers run; empty: wherever they may.
        trouble: what is wrong with the engine, asked all the time.

    Raises:
        EngineError: the engine is in trouble, or the run says nothing of it.
    """
    _check_key(server)
    shards = Shards(
        jobs(
            server,
            load,
            salt=salt,
            workers=workers(load.workload, cores),
            cores=cores,
            request_timeout_s=request_timeout_s,
        )
    )
    tally = Tally(load)
    with shards:
        _until_ready(shards, trouble)
        over_s = _until_over(shards, shards.start(), tally, trouble)
        if tally.last_failed and trouble is not untroubled:
            _last_look(trouble)
    return tally.run(over_s)


def workers(workload: Workload, cores: frozenset[int]) -> int:
    """Processes that carry the workload's chunks; a closed loop's slots are all of one."""
    if workload.concurrency is not None:
        return 1
    in_flight = float(len(workload.requests))
    if math.isfinite(workload.request_rate):
        chunks_per_s = workload.request_rate * workload.mean_output_tokens
    else:
        chunks_per_s = in_flight * FAST_TOKENS_PER_S
    # Where nobody gave us cores, half of them are left to the engine.
    most = len(cores) or max(1, len(os.sched_getaffinity(0)) // 2)
    return max(1, min(math.ceil(chunks_per_s / CHUNKS_PER_S), most, len(workload.requests)))


def _check_key(server: Server) -> None:
    if server.api_key_env and not os.environ.get(server.api_key_env):
        raise EngineError(
            FailureKind.HOST,
            f"`{server.api_key_env}` must hold the server's API key, but it is not set; "
            f"export {server.api_key_env} first.",
        )


def _until_ready(shards: Shards, trouble: Callable[[], Failure | None]) -> None:
    ready = 0
    while ready < len(shards):
        ready += sum("ready" in message for message in shards.messages(POLL_S))
        _ask(trouble)


def _until_over(
    shards: Shards,
    start_s: float,
    tally: Tally,
    trouble: Callable[[], Failure | None],
) -> float:
    """Listen until every worker is done or the run is to end; seconds from its start."""
    ends_s: list[float] = []
    while len(ends_s) < len(shards):
        for message in shards.messages(POLL_S):
            tally.hear(message)
            ends_s += [message["over"]] if "over" in message else []
        _ask(trouble)
        if tally.over:
            over_s = time.monotonic() - start_s
            for message in shards.last_words():
                tally.hear(message)
            return over_s
    return max(ends_s)


def _ask(trouble: Callable[[], Failure | None]) -> None:
    if failure := trouble():
        raise EngineError(failure.kind, failure.detail)


def _last_look(trouble: Callable[[], Failure | None]) -> None:
    until_s = time.monotonic() + LAST_LOOK_S
    while time.monotonic() < until_s:
        _ask(trouble)
        time.sleep(POLL_S)
