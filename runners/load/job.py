"""What a worker is told on its standard input and what it says on its standard output.

in    one line: the job;  one line: the start, in seconds of the monotonic clock;  the end
      of the input: stop
out   {"ready": true};  {"finished": [...]} as requests finish;  {"over": seconds};
      or {"failed": why it cannot begin}
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, astuple, dataclass

from objectives import Load, Request
from runners.load.server import Server


@dataclass(frozen=True, slots=True)
class Numbered:
    """A request and its place in the workload, which is what its prompt is made from."""

    index: int
    request: Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One worker's share of a load."""

    server: Server
    requests: tuple[Numbered, ...]
    concurrency: int | None
    block_tokens: int
    first_s: float
    """Arrival of the load's first request, at which the run starts."""
    last_s: float
    """Arrival of the load's last request, whoever sends it."""
    patience_s: float
    request_timeout_s: float
    salt: str
    cores: tuple[int, ...]

    def line(self) -> bytes:
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def parse(cls, line: bytes) -> "Job":
        fields = json.loads(line)
        return cls(
            **{
                **fields,
                "server": Server(**fields["server"]),
                "requests": _numbered(fields["requests"]),
                "cores": tuple(fields["cores"]),
            }
        )


def _numbered(items: Iterable[dict[str, dict[str, object]]]) -> tuple[Numbered, ...]:
    return tuple(
        Numbered(item["index"], Request(**{**item["request"], "blocks": tuple(blocks)}))  # type: ignore
        for item in items
        for blocks in (item["request"]["blocks"],)
    )


@dataclass(frozen=True, slots=True)
class Finished:
    """What a worker says of one request; times are seconds from the start of the run."""

    index: int
    arrival_s: float
    end_s: float
    send_lag_ms: float
    ttft_ms: float | None = None
    e2el_ms: float | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    error: str | None = None
    """Why it failed; such a request has no latencies."""


def news(sent: Iterable[tuple[int, float]], finished: Iterable[Finished]) -> bytes:
    """Indices of the requests sent and when they were due, and what has finished."""
    told = {"sent": list(sent), "finished": [astuple(one) for one in finished]}
    return json.dumps(told).encode() + b"\n"


def jobs(
    server: Server,
    load: Load,
    *,
    salt: str,
    workers: int,
    cores: frozenset[int],
    request_timeout_s: float,
) -> list[Job]:
    """The load in equal shares."""
    numbered = [Numbered(i, request) for i, request in enumerate(load.workload.requests)]
    return [
        Job(
            server=server,
            requests=tuple(numbered[worker::workers]),
            concurrency=load.workload.concurrency,
            block_tokens=load.workload.block_tokens,
            first_s=numbered[0].request.arrival_s,
            last_s=numbered[-1].request.arrival_s,
            patience_s=load.patience_s,
            request_timeout_s=request_timeout_s,
            salt=salt,
            cores=tuple(sorted(cores)),
        )
        for worker in range(workers)
    ]
