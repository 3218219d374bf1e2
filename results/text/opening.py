"""How the text begins: how far the figures can be trusted, and what they are about."""

from collections.abc import Mapping
from typing import Any

from objectives import Quadrant
from results.text.figures import number, quantity
from results.text.layout import joined, paragraph
from results.text.standing import ALL

SPARE = 3.0
"""Above this many times the offered load, the default config is more than enough."""


def caveats(summary: Mapping[str, Any], width: int) -> list[str]:
    sentences = [*oversized(summary), *simulated(summary)]
    return paragraph(" ".join(sentences), width)


def oversized(summary: Mapping[str, Any]) -> list[str]:
    loads = (summary.get("baseline") or {}).get("loads", {})
    rate = loads.get("offered", {}).get("request_rate")
    measured = loads.get("capacity", {})
    capacity = measured.get("capacity")
    if not rate or not capacity or capacity <= SPARE * rate:
        return []
    needed, gpus = measured.get("gpus_needed"), summary["hardware"]["gpus"]
    traffic = "traffic"
    if summary["objective"] == ALL:
        traffic = f"{Quadrant.LIVE_AT_SCALE.representative} traffic"
    sentence = (
        f"The question is how few GPUs, not which flags: the default config's capacity for this "
        f"{traffic} is {quantity('capacity', capacity)}, {number(capacity / rate)}x the offered "
        f"{quantity('capacity', rate)}"
    )
    if needed is not None and needed < gpus:
        sentence += f", and {joined(str(needed), 'of', 'the', str(gpus))} GPUs would do"
    return [f"{sentence}."]


def simulated(summary: Mapping[str, Any]) -> list[str]:
    if not summary["simulated"]:
        return []
    doubt = (summary.get("uncertainty") or "how far they are off is not known").rstrip(". ")
    return [f"All figures are simulated, not measured on a GPU ({doubt})."]


def subject(summary: Mapping[str, Any], width: int) -> list[str]:
    hardware = summary["hardware"]
    parts = (
        f"Study {summary['study']}",
        f"objective {summary['objective']}",
        f"{summary['model']} on {joined(str(hardware['gpus']), 'x', str(hardware['gpu']))}",
        f"engine {summary['engine']}, {summary.get('engine_version') or 'version not known'}",
        *(_traffic(name, workload) for name, workload in summary["workloads"].items()),
        joined("seed", str(summary["seed"])),
    )
    return paragraph(" | ".join(parts), width)


def _traffic(name: str, workload: Mapping[str, Any]) -> str:
    rate, concurrency = workload.get("request_rate"), workload.get("concurrency")
    if concurrency is not None:
        level = f"with {joined(str(concurrency), 'in', 'flight')}"
    elif rate is not None:
        level = f"at {quantity('capacity', rate)}"
    else:
        level = "all at once"
    requests = workload.get("requests")
    size = f"{joined(str(requests), 'requests')} " if isinstance(requests, int) else ""
    return f"{name} traffic: {size}{level}, {workload.get('source') or 'source not known'}"
