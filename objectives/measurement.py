"""What one run under one load observed, and every metric that follows from it.

Names and units follow the result file of ``vllm bench serve``. TPOT leaves the first token out:
(E2EL - TTFT) / (output tokens - 1); an answer of one token has none. Latencies are over completed
requests, in milliseconds from the intended send time.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from objectives.statistics import percentile

Latency = Literal["ttft", "tpot", "e2el"]
LATENCIES: tuple[Latency, ...] = ("ttft", "tpot", "e2el")
REPORTED_SHARES = (90, 95, 99)
LATENCY_METRIC = re.compile(r"(mean|median|p(\d{1,2}(?:\.\d+)?))_(ttft|tpot|e2el)_ms")
RATES = ("request_throughput", "output_throughput", "total_token_throughput")
HIGHER_IS_BETTER = frozenset(
    {
        *RATES,
        "output_throughput_per_gpu",
        "request_goodput",
        "capacity",
        "capacity_per_gpu",
        "headroom",
    }
)


@dataclass(frozen=True, slots=True)
class RequestResult:
    """What became of one offered request; no latencies unless it was answered in full."""

    arrival_s: float
    input_tokens: int
    output_tokens: int
    ttft_ms: float | None = None
    e2el_ms: float | None = None
    preemptions: int = 0

    @property
    def completed(self) -> bool:
        return self.e2el_ms is not None

    @property
    def tpot_ms(self) -> float | None:
        if self.e2el_ms is None or self.ttft_ms is None or self.output_tokens < 2:
            return None
        return (self.e2el_ms - self.ttft_ms) / (self.output_tokens - 1)

    def latency_ms(self, latency: Latency) -> float | None:
        match latency:
            case "ttft":
                return self.ttft_ms
            case "tpot":
                return self.tpot_ms
            case "e2el":
                return self.e2el_ms


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One run: its requests in order of arrival, how long it took, what the engine said."""

    results: tuple[RequestResult, ...]
    duration_s: float
    gpus: int
    engine: Mapping[str, float] = field(default_factory=dict)
    """The engine's own account, such as ``mean_running`` and ``preemptions``."""
    documents: int | None = None
    """A batch job's size, for its ``makespan_s`` at this run's throughput."""

    def __post_init__(self) -> None:
        if not self.results or not self.duration_s > 0:
            raise ValueError("A measurement needs at least one request and a positive duration.")

    @cached_property
    def completed(self) -> tuple[RequestResult, ...]:
        return tuple(r for r in self.results if r.completed)

    @cached_property
    def _ordered(self) -> dict[Latency, list[float]]:
        return {
            latency: sorted(
                value for r in self.completed if (value := r.latency_ms(latency)) is not None
            )
            for latency in LATENCIES
        }

    def latency_ms(self, metric: str) -> float | None:
        """A metric such as ``p95_ttft_ms``; ``None`` when no request completed.

        Raises:
            KeyError: not the name of a latency metric.
        """
        match = LATENCY_METRIC.fullmatch(metric)
        if match is None:
            raise KeyError(metric)
        ordered = self._ordered[next(latency for latency in LATENCIES if latency == match[3])]
        if not ordered:
            return None
        if match[1] == "mean":
            return sum(ordered) / len(ordered)
        return percentile(ordered, 0.5 if match[1] == "median" else float(match[2]) / 100)

    @cached_property
    def metrics(self) -> dict[str, float | None]:
        """Every metric by name; a latency is ``None`` when no request completed."""
        output = sum(r.output_tokens for r in self.completed)
        total = output + sum(r.input_tokens for r in self.completed)
        gaps = [(r.output_tokens - 1, r.tpot_ms) for r in self.completed]
        streamed = sum(count for count, tpot in gaps if tpot is not None)
        values: dict[str, float | None] = {
            "completed": len(self.completed),
            "failed": len(self.results) - len(self.completed),
            "duration_s": self.duration_s,
            "request_throughput": len(self.completed) / self.duration_s,
            "output_throughput": output / self.duration_s,
            "total_token_throughput": total / self.duration_s,
            "output_throughput_per_gpu": output / self.duration_s / self.gpus,
            # Pooled over all gaps, so long answers weigh more than in mean TPOT.
            "mean_itl_ms": sum(n * tpot for n, tpot in gaps if tpot is not None) / streamed
            if streamed
            else None,
        }
        for latency in LATENCIES:
            for kind in ("mean", "median", *(f"p{share}" for share in REPORTED_SHARES)):
                values[f"{kind}_{latency}_ms"] = self.latency_ms(f"{kind}_{latency}_ms")
        if self.documents is not None and self.completed:
            values["makespan_s"] = self.documents * self.duration_s / len(self.completed)
        return values | dict(self.engine)

    def metric(self, name: str) -> float | None:
        """Any metric by name, reported by default or not.

        Raises:
            KeyError: unknown metric.
        """
        if LATENCY_METRIC.fullmatch(name):
            return self.latency_ms(name)
        return None if name == "makespan_s" and not self.completed else self.metrics[name]
