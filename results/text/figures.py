"""Figures as people read them: three significant digits, and always the unit."""

import re

from results.text.layout import DASH, joined

MINUTE_S = 60
HOUR_S = 3600
DAY_S = 86400
LATENCY = re.compile(r"(mean|median|p\d{1,2}(?:\.\d+)?)_(ttft|tpot|itl|e2el)_ms")
UNITS = {
    "capacity": "req/s",
    "capacity_per_gpu": "req/s/GPU",
    "request_throughput": "req/s",
    "request_goodput": "req/s",
    "output_throughput": "tok/s",
    "total_token_throughput": "tok/s",
    "output_throughput_per_gpu": "tok/s/GPU",
}


def number(value: float | None) -> str:
    """Three significant digits, never with an exponent."""
    if value is None:
        return DASH
    rounded = float(f"{value:.3g}")
    text = f"{rounded:.9f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def percent(share: float | None) -> str:
    """A whole percentage; what is neither nothing nor 1 % says so."""
    if share is None:
        return DASH
    whole = round(100 * share)
    return joined("<1" if whole == 0 < share else str(whole), "%")


def duration(seconds: float) -> str:
    """The two largest units: ``1 min 12 s``."""
    if 0 < seconds < 1:
        return joined("<1", "s")
    whole = round(seconds)
    for size, unit, part, part_unit in (
        (DAY_S, "d", HOUR_S, "h"),
        (HOUR_S, "h", MINUTE_S, "min"),
        (MINUTE_S, "min", 1, "s"),
    ):
        if whole >= size:
            rest = whole % size // part
            return joined(str(whole // size), unit, *((str(rest), part_unit) if rest else ()))
    return joined(str(whole), "s")


def label(metric: str) -> str:
    """``p95 TTFT`` for ``p95_ttft_ms``."""
    latency = LATENCY.fullmatch(metric)
    if latency is not None:
        return joined(latency[1], latency[2].upper())
    words = metric.removesuffix("_s").replace("_", " ")
    return re.sub(r"\bgpu", "GPU", words)


def unit(metric: str) -> str:
    """The unit of a metric's number; a ``makespan_s`` is in seconds."""
    if metric.endswith("_ms"):
        return "ms"
    return UNITS.get(metric, "s" if metric.endswith("_s") else "")


def quantity(metric: str, value: float | None) -> str:
    """A number with its unit."""
    if value is None:
        return DASH
    if metric.endswith("_s"):
        return duration(value)
    if metric == "gpus_needed":
        return joined(f"{value:.0f}", "GPU" if value == 1 else "GPUs")
    return joined(number(value), unit(metric)).rstrip()


def goal(metric: str, value: float) -> str:
    """``9.12 req/s/GPU``; a latency says which it is: ``212 ms p95 TTFT``."""
    shown = quantity(metric, value)
    return joined(shown, label(metric)) if LATENCY.fullmatch(metric) else shown
