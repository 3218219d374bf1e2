"""The promise about latency: bounds, and whether a measurement keeps them.

A bound ``p95_ttft_ms<=500`` is kept when at least 95 % of the *offered* requests completed with a
TTFT of at most 500 ms; a request that failed, was cut short or never finished has missed it. A
bound on a mean or a rate compares the number.
"""

import math
import re
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from typing import Literal

from objectives.measurement import (
    LATENCIES,
    LATENCY_METRIC,
    Latency,
    Measurement,
    RequestResult,
)
from objectives.statistics import requests_needed, share_interval

NUMBERS = (
    "request_throughput",
    "output_throughput",
    "output_throughput_per_gpu",
    "mean_itl_ms",
    "makespan_s",
)
"""Metrics besides the latencies that a bound may name."""
EXAMPLE = "`p95_ttft_ms<=500,p95_tpot_ms<=40`"
_BOUND = re.compile(r"\s*([A-Za-z0-9_.]+)\s*(<=|>=)\s*([^\s,]+)\s*")
CLIP = 3.0


class Verdict(StrEnum):
    MET = "met"
    BROKEN = "broken"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Bound:
    """One promise, such as ``p95_ttft_ms<=500``."""

    metric: str
    sense: Literal["<=", ">="]
    limit: float
    source: str = ""
    """Where the number comes from."""

    def __post_init__(self) -> None:
        if not (LATENCY_METRIC.fullmatch(self.metric) or self.metric in NUMBERS):
            raise ValueError(unknown_metric(self.metric))
        if self.sense == ">=" and self.metric.endswith(("_ms", "_s")):
            raise ValueError(f"A time is bounded from above: write {self.metric}<={self.limit:g}.")
        if self.share is not None and not 0 < self.share[0] < 1:
            raise ValueError(
                f"A percentile above 0 and below 100 is needed, but got {self.metric}."
            )
        if not (math.isfinite(self.limit) and self.limit > 0):
            raise ValueError(
                f"A bound needs a number above 0, but got {self.metric}={self.limit}."
            )

    @property
    def name(self) -> str:
        return f"{self.metric}{self.sense}{self.limit:g}"

    @property
    def share(self) -> tuple[float, Latency] | None:
        """(share of requests, latency) of a percentile bound; ``None`` for any other."""
        match = LATENCY_METRIC.fullmatch(self.metric)
        if match is None or match[1] == "mean" or self.sense == ">=":
            return None
        wanted = 0.5 if match[1] == "median" else float(match[2]) / 100
        return wanted, next(latency for latency in LATENCIES if latency == match[3])

    @property
    def mean(self) -> Latency | None:
        """The latency whose mean is bounded from above; ``None`` for any other bound."""
        match = LATENCY_METRIC.fullmatch(self.metric)
        if match is None or match[1] != "mean":
            return None
        return next(latency for latency in LATENCIES if latency == match[3])

    @property
    def requests_needed(self) -> int:
        """The fewest of a workload that can tell whether the bound is kept."""
        return requests_needed(self.share[0]) if self.share else 1


def unknown_metric(name: str) -> str:
    """What to say of a metric that does not exist."""
    known = [f"{p}_{latency}_ms" for p in ("p95", "p99", "mean") for latency in LATENCIES]
    near = get_close_matches(name.lower(), [*known, *NUMBERS], n=3, cutoff=0.5)
    return (
        f"Unknown metric {name!r}"
        + (f"; nearest: {', '.join(near)}." if near else ".")
        + f" A bound reads like {EXAMPLE}."
    )


def parse_sla(text: str, *, source: str = "") -> tuple[Bound, ...]:
    """Bounds from ``METRIC<=NUMBER`` or ``METRIC>=NUMBER`` joined by commas, sorted by name.

    Raises:
        ValueError: the text does not parse, names an unknown metric or one twice.
    """
    bounds = []
    for part in text.split(","):
        match = _BOUND.fullmatch(part)
        if match is None:
            raise ValueError(f"Cannot read the SLA {part.strip()!r}; it reads like {EXAMPLE}.")
        metric, sense, number = match.groups()
        try:
            limit = float(number)
        except ValueError:
            raise ValueError(f"{number!r} in the SLA {part.strip()!r} is not a number.") from None
        bounds.append(Bound(metric, "<=" if sense == "<=" else ">=", limit, source))
    return ordered(bounds)


def ordered(bounds: list[Bound]) -> tuple[Bound, ...]:
    """Bounds in the order of their names, the order in which Optuna is told constraints."""
    keys = [(bound.metric, bound.sense) for bound in bounds]
    if repeated := sorted({metric for metric, sense in keys if keys.count((metric, sense)) > 1}):
        raise ValueError(f"The SLA bounds {', '.join(repeated)} more than once.")
    return tuple(sorted(bounds, key=lambda bound: bound.name))


@dataclass(frozen=True, slots=True)
class Judgement:
    """How one measurement stands against one bound."""

    limit: float
    value: float | None
    """Over completed requests; ``None`` when none completed."""
    share: float | None
    """Share of offered requests within the limit; ``None`` where a number is compared."""
    verdict: Verdict
    excess: float
    """log2(value / limit) over *offered* requests, in [-3, 3]; zero or less is within."""


def judge(bound: Bound, measurement: Measurement) -> Judgement:
    """Hold a measurement against a bound."""
    if bound.share is not None:
        return _judge_share(bound, *bound.share, measurement)
    value = measurement.metric(bound.metric)
    # Answers of one token have no time between tokens that could break a bound on it.
    unseen = -CLIP if measurement.completed else CLIP
    excess = unseen if value is None else _excess(bound, value)
    verdict = Verdict.MET if excess <= 0 else Verdict.BROKEN
    return Judgement(bound.limit, value, None, verdict, excess)


def _judge_share(
    bound: Bound, wanted: float, latency: Latency, measurement: Measurement
) -> Judgement:
    values = [promised_ms(result, latency) for result in measurement.results]
    hits = [value <= bound.limit for value in values]
    return Judgement(
        bound.limit,
        measurement.metric(bound.metric),
        sum(hits) / len(hits),
        _verdict(hits, wanted),
        _excess(bound, _ranked(values, wanted)),
    )


def _verdict(hits: list[bool], wanted: float) -> Verdict:
    if all(hits):
        return Verdict.MET
    low, high = share_interval(hits)
    if low > wanted:
        return Verdict.MET
    return Verdict.BROKEN if high < wanted else Verdict.UNDECIDED


def _ranked(values: list[float], wanted: float) -> float:
    """The value that this share of the requests does not exceed."""
    return sorted(values)[max(1, math.ceil(wanted * len(values) - 1e-9)) - 1]


def promised_ms(result: RequestResult, latency: Latency) -> float:
    """The latency that a bound is held against; infinite where the promise was not kept at all."""
    if not result.completed:
        return math.inf
    value = result.latency_ms(latency)
    if value is None:
        # An answer of one token has no TPOT and so cannot break a bound on it.
        return 0.0 if latency == "tpot" and result.output_tokens < 2 else math.inf
    return value


def _excess(bound: Bound, value: float) -> float:
    ratio = value / bound.limit
    if ratio <= 0 or math.isinf(ratio):
        return CLIP if (ratio <= 0) == (bound.sense == ">=") else -CLIP
    doublings = math.log2(ratio)
    return max(-CLIP, min(CLIP, doublings if bound.sense == "<=" else -doublings))


def holds(bounds: tuple[Bound, ...], measurement: Measurement) -> bool:
    """Whether every bound is kept by the number itself, its uncertainty left aside."""
    return all(_holds(bound, measurement) for bound in bounds)


def _holds(bound: Bound, measurement: Measurement) -> bool:
    if bound.share is None:
        return judge(bound, measurement).excess <= 0
    wanted, latency = bound.share
    values = [promised_ms(result, latency) for result in measurement.results]
    return _excess(bound, _ranked(values, wanted)) <= 0


def request_goodput(bounds: tuple[Bound, ...], measurement: Measurement) -> float:
    """Requests per second that kept every per-request bound."""
    shared = [(bound.limit, bound.share[1]) for bound in bounds if bound.share is not None]
    good = sum(
        result.completed
        and all(promised_ms(result, latency) <= limit for limit, latency in shared)
        for result in measurement.results
    )
    return good / measurement.duration_s


def latency_s(bounds: tuple[Bound, ...], output_tokens: float) -> float:
    """The longest an answer of ``output_tokens`` may take; infinite without such a promise."""
    worst: dict[str, float] = {}
    for bound in bounds:
        match = LATENCY_METRIC.fullmatch(bound.metric)
        if match is not None and bound.sense == "<=":
            worst[match[3]] = max(worst.get(match[3], 0.0), bound.limit)
    if "e2el" in worst:
        return worst["e2el"] / 1000
    if "ttft" in worst and "tpot" in worst:
        return (worst["ttft"] + worst["tpot"] * output_tokens) / 1000
    return math.inf


def patience_s(bounds: tuple[Bound, ...], output_tokens: int) -> float:
    """Three times the SLA's latency for an answer of ``output_tokens``.

    A run ends this long after its last arrival: what is unfinished then has missed any bound.
    """
    return 3 * latency_s(bounds, output_tokens)
