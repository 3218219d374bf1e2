"""The traffic a config is judged by: requests with their intended send times."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, pairwise
from typing import Protocol

from objectives.measurement import RequestResult


@dataclass(frozen=True, slots=True)
class Request:
    """One request; the same for every config of a study."""

    arrival_s: float
    """Intended send time, seconds from the start of the run; ignored in a closed loop."""
    input_tokens: int
    output_tokens: int
    """Tokens the engine is made to produce (``max_tokens`` with ``ignore_eos``)."""
    blocks: tuple[int, ...] = ()
    """Identities of the prompt's leading full blocks; equal leading blocks share a prefix."""
    priority: int = 0
    """Lower is served first, as in vLLM."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.arrival_s) and self.arrival_s >= 0):
            raise ValueError(f"`arrival_s >= 0` must hold, but got {self.arrival_s}.")
        if self.input_tokens < 1 or self.output_tokens < 1:
            raise ValueError(
                "`input_tokens >= 1` and `output_tokens >= 1` must hold, but got "
                f"{self.input_tokens} and {self.output_tokens}."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Requests in order of arrival, sent at their times or, in a closed loop, as slots free up."""

    name: str
    requests: tuple[Request, ...]
    concurrency: int | None = None
    """Requests in flight in a closed loop; ``None``: open loop."""
    block_tokens: int = 512
    """Tokens per entry of ``Request.blocks``."""
    source: str = ""
    """Where the lengths and times come from, for people."""

    def __post_init__(self) -> None:
        if not self.requests:
            raise ValueError(f"The workload {self.name!r} holds no request.")
        times = [request.arrival_s for request in self.requests]
        if any(later < earlier for earlier, later in pairwise(times)):
            raise ValueError(f"The workload {self.name!r} has arrival times that run backwards.")
        if self.concurrency is not None and self.concurrency < 1:
            raise ValueError(f"`concurrency >= 1` must hold, but got {self.concurrency}.")

    @property
    def span_s(self) -> float:
        """Seconds from the first arrival to the last."""
        return self.requests[-1].arrival_s - self.requests[0].arrival_s

    @property
    def request_rate(self) -> float:
        """Mean arrivals per second; infinite when all arrive at once."""
        return (len(self.requests) - 1) / self.span_s if self.span_s > 0 else math.inf

    @property
    def longest_tokens(self) -> int:
        """Input and output tokens of the longest request."""
        return max(r.input_tokens + r.output_tokens for r in self.requests)

    @property
    def mean_output_tokens(self) -> float:
        return sum(r.output_tokens for r in self.requests) / len(self.requests)

    def at_rate(self, request_rate: float) -> "Workload":
        """The same requests in an open loop, their spacing stretched to another mean rate.

        Requests that all arrive at once have no spacing to stretch and are spread evenly.
        """
        if not request_rate > 0:
            raise ValueError(f"`request_rate > 0` must hold, but got {request_rate}.")
        if math.isinf(self.request_rate):
            times = [index / request_rate for index in range(len(self.requests))]
        else:
            first, factor = self.requests[0].arrival_s, self.request_rate / request_rate
            times = [(r.arrival_s - first) * factor for r in self.requests]
        requests = tuple(
            Request(time, r.input_tokens, r.output_tokens, r.blocks, r.priority)
            for r, time in zip(self.requests, times, strict=True)
        )
        return replace(self, requests=requests, concurrency=None)

    def lasting(
        self, span_s: float, *, requests: int = 1, then: Sequence["Workload"] = ()
    ) -> "Workload":
        """The requests over and over until they last this long and are this many.

        Each round has prefixes of its own: repeated prompts would be served from the cache.

        Args:
            then: the same traffic drawn anew, in rotation with this one.
        """
        kept, period_s = len(self.requests), self._period_s
        wanted = max(kept, requests, math.ceil(span_s / period_s * kept) if period_s else 0)
        repeated = list(self.requests)
        begin_s, apart = period_s, self._own_blocks
        for draw in cycle((*then, self)):
            if len(repeated) >= wanted:
                break
            repeated += [_later(r, begin_s, apart) for r in draw.requests]
            begin_s += draw._period_s
            apart += draw._own_blocks
        return replace(self, requests=tuple(repeated[:wanted]))

    @property
    def _period_s(self) -> float:
        return self.span_s + (0.0 if self.span_s == 0 else 1 / self.request_rate)

    @property
    def _own_blocks(self) -> int:
        return 1 + max((max(r.blocks) for r in self.requests if r.blocks), default=0)

    def rotated(self, first: int) -> "Workload":
        """The same requests in another order: those from ``first`` on before the others.

        In a trace that is replayed in full this is another draw of the same traffic, as in a
        circular block bootstrap.
        """
        begin_s = self.requests[first].arrival_s
        later = [replace(r, arrival_s=r.arrival_s - begin_s) for r in self.requests[first:]]
        wrapped_s = self._period_s - begin_s
        sooner = [replace(r, arrival_s=r.arrival_s + wrapped_s) for r in self.requests[:first]]
        return replace(self, requests=(*later, *sooner))

    def at_concurrency(self, concurrency: int) -> "Workload":
        """The same requests in a closed loop with this many in flight."""
        return replace(self, concurrency=concurrency)


def _later(request: Request, by_s: float, apart: int) -> Request:
    return Request(
        request.arrival_s + by_s,
        request.input_tokens,
        request.output_tokens,
        tuple([block + apart for block in request.blocks]),
        request.priority,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """A workload as one run offers it."""

    workload: Workload
    patience_s: float = math.inf
    """Seconds after the last arrival at which the run ends; what is unfinished then has missed."""
    watch: Callable[[], "Watch"] | None = None
    """Made for each run: sees its requests as they finish, and may end it before its time."""
    purpose: str = ""
    """What it is measured for, in words: ``offered``, ``capacity probe``."""


class Watch(Protocol):
    """Sees every request of a run that finishes or fails, in that order."""

    def over(self, result: RequestResult, now_s: float) -> bool:
        """Whether the run may end: nothing that is still to come would change what it is for.

        Args:
            now_s: on the clock of the arrivals.
        """
        ...
