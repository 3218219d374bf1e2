"""Engines made for a test: what becomes of each request is known, and watches are honoured."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from benchmarks.noisy import until_over
from objectives import Load, Measurement, RequestResult, Workload

Latencies = Callable[[Workload], Sequence[float | None]]
"""TTFT of each request of a run, in ms; ``None``: it fails at once."""
PER_TOKEN_MS = 10.0


@dataclass(slots=True)
class Scripted:
    """Answers each run by a function of its workload, and keeps what it was asked."""

    latencies: Latencies
    gpus: int = 1
    age_s: float = 0.0
    fresh: bool = True
    loads: list[Load] = field(default_factory=list)

    def measure(self, load: Load) -> Measurement:
        self.loads.append(load)
        found = run(load, self.latencies(load.workload), gpus=self.gpus)
        self.age_s += found.duration_s
        return found


def run(load: Load, ttfts_ms: Sequence[float | None], *, gpus: int = 1) -> Measurement:
    """A run of these latencies, until its watch or its patience ends it."""
    results = [
        RequestResult(r.arrival_s, r.input_tokens, r.output_tokens)
        if ttft_ms is None
        else RequestResult(
            r.arrival_s,
            r.input_tokens,
            r.output_tokens,
            ttft_ms,
            ttft_ms + PER_TOKEN_MS * (r.output_tokens - 1),
        )
        for r, ttft_ms in zip(load.workload.requests, ttfts_ms, strict=True)
    ]
    return replace(until_over(load, results), gpus=gpus)


def in_line(workload: Workload, most: float, first_ms: float = 100.0) -> list[float | None]:
    """TTFTs where requests are served one after the other, so many a second at most."""
    free_s, found = 0.0, []
    for request in workload.requests:
        begin_s = max(request.arrival_s, free_s)
        free_s = begin_s + 1 / most
        found.append(1000 * (begin_s - request.arrival_s) + first_ms)
    return [*found]
