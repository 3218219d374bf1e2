"""One winner at length: its config, its margins, what it gains, how many GPUs it needs."""

from collections.abc import Mapping
from typing import Any

from objectives import Quadrant
from results.text.figures import goal, number, percent, quantity
from results.text.gain import gain_sentence
from results.text.layout import entry, joined, paragraph
from results.text.margins import margins
from results.text.settings import config_text, departures, settings
from results.text.standing import ALL, pairs_of, why_none, winner

COST = "cost_per_million_output_tokens_usd"


def block(summary: Mapping[str, Any], quadrant: Quadrant, width: int, *, alone: bool) -> list[str]:
    """Lines on one quadrant; ``alone`` also says what the table would."""
    best = winner(summary, quadrant)
    head = f"{quadrant.numeral} {quadrant}"
    if best is None:
        return paragraph(f"{head}: {why_none(summary, quadrant)}.", width)
    on_traffic = f" ({quadrant.representative} traffic)" if summary["objective"] == ALL else ""
    kept = margins(best["sla"]) or ["none"]
    entries = (
        *((("goal", _goal(best)), ("measured", _measured(best))) if alone else ()),
        ("config", config_text(summary, best["config"])),
        *(("" if index else "SLA", line) for index, line in enumerate(kept)),
        ("gain", gain_sentence(best, pairs_of(summary, quadrant))),
        ("file", from_file(best)),
        ("sizing", sizing(best, summary["hardware"]["gpus"])),
        ("ours", ours(best)),
    )
    return [
        f"{head}, trial {best['trial']}{on_traffic}",
        *(line for name, text in entries if text for line in entry(name, text, width)),
    ]


def _goal(best: Mapping[str, Any]) -> str:
    return goal(best["goal"]["metric"], best["goal"]["value"])


def _measured(best: Mapping[str, Any]) -> str:
    offered, capacity = best["loads"].get("offered", {}), best["loads"].get("capacity", {})
    saturated = quantity("output_throughput_per_gpu", capacity.get("output_throughput_per_gpu"))
    figures = (
        f"p95 TTFT {quantity('p95_ttft_ms', offered.get('p95_ttft_ms'))}",
        f"p95 TPOT {quantity('p95_tpot_ms', offered.get('p95_tpot_ms'))}",
        f"capacity {quantity('capacity', capacity.get('capacity'))}",
        f"saturated {saturated}",
    )
    return ", ".join(figures)


def from_file(best: Mapping[str, Any]) -> str:
    """What the stock engine did when started from the exported file."""
    found = best.get("from_file")
    if found is None:
        return ""
    if found["failure"]:
        return f"the engine started from it failed: {found['failure']['detail']}"
    offered = found["loads"]["offered"]
    verdicts = {bound["verdict"] for bound in found["sla"].values()}
    kept = next((v for v in ("broken", "undecided") if v in verdicts), "met")
    return (
        f"the engine as it comes, started from it: p95 TTFT "
        f"{quantity('p95_ttft_ms', offered.get('p95_ttft_ms'))}, p95 TPOT "
        f"{quantity('p95_tpot_ms', offered.get('p95_tpot_ms'))}, SLA {kept}"
    )


def sizing(best: Mapping[str, Any], gpus: int) -> str:
    offered, capacity = best["loads"].get("offered", {}), best["loads"].get("capacity", {})
    needed, headroom = capacity.get("gpus_needed"), capacity.get("headroom")
    running, cost_usd = offered.get("mean_running"), capacity.get(COST)
    figures = []
    if needed is not None:
        figures.append(f"{_needed(needed, gpus)} needed for the offered load")
    if headroom is not None:
        figures.append(_headroom(headroom))
    if running is not None:
        figures.append(f"mean running batch {number(running)}")
    if cost_usd is not None:
        figures.append(f"{joined(number(cost_usd), 'USD')} per million output tokens")
    return ", ".join(figures)


def _needed(needed: int, gpus: int) -> str:
    of_gpus = ("of", str(gpus)) if needed <= gpus else ()
    return joined(str(needed), *of_gpus, "GPUs")


def _headroom(headroom: float) -> str:
    """What is left of the capacity, or by how much it is exceeded."""
    if headroom >= 0:
        return f"headroom {percent(headroom)}"
    return f"offered {number(1 - headroom)}x its capacity"


def ours(best: Mapping[str, Any]) -> str:
    found = best.get("ours")
    if found is None:
        return ""
    turned = settings(departures(found["config"], best["config"]))
    return (
        f"with our scheduler class: {number(1 + found['extra_gain'])}x better "
        f"(trial {found['trial']}: {turned}): --allow-scheduler-class"
    )
