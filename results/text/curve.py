"""Latency over load: what the probes of a capacity search showed."""

from collections.abc import Mapping
from typing import Any

from results.text.figures import number
from results.text.layout import DASH, paragraph, table
from results.text.standing import own_quadrants, winner

HEADERS = (
    ("offered", "p95 TTFT", "p95 TPOT", "output", "requests", "SLA"),
    ("req/s", "ms", "ms", "tok/s", "", ""),
)


def curve(summary: Mapping[str, Any], width: int) -> list[str]:
    """Of the study's own winner; in ``all`` of the first."""
    best = next((b for q in own_quadrants(summary) if (b := winner(summary, q))), None)
    capacity = best["loads"].get("capacity", {}) if best else {}
    probes = [p for p in capacity.get("probes", []) if p["level"] is not None]
    if best is None or not probes or best["loads"]["offered"].get("request_rate") is None:
        return []
    told = f"Latency over load of trial {best['trial']}{_interval(capacity)}:"
    lines = table(">>>>><", HEADERS, [_row(probe) for probe in probes])
    return [*paragraph(told, width), *lines, *paragraph(_below(capacity), width)]


def _row(probe: Mapping[str, Any]) -> list[str]:
    return [
        number(probe["level"]),
        number(probe["p95_ttft_ms"]),
        number(probe["p95_tpot_ms"]),
        number(probe["output_throughput"]),
        str(probe.get("requests", DASH)),
        _verdict(probe),
    ]


def _verdict(probe: Mapping[str, Any]) -> str:
    verdict = str(probe.get("verdict", "met" if probe["holds"] else "broken"))
    if verdict == "undecided":
        return f"undecided, taken as {'met' if probe['holds'] else 'broken'}"
    return verdict


def _interval(capacity: Mapping[str, Any]) -> str:
    found = capacity.get("intervals", {}).get("capacity")
    if not found:
        return ""
    low, high = found
    return f", capacity {number(capacity['capacity'])} req/s ({number(low)} to {number(high)})"


def _below(capacity: Mapping[str, Any]) -> str:
    levels = ", ".join(number(level) for level in capacity.get("broken_below", []))
    return f"It breaks the SLA below its capacity, too: at {levels} req/s." if levels else ""
