"""How the text ends: prices between quadrants, idle knobs, what it took, where everything is."""

import shlex
from collections.abc import Mapping
from typing import Any

from objectives import Quadrant
from results.text.figures import duration, number, percent
from results.text.layout import GAP, joined, paragraph, table
from results.text.standing import own_quadrants, won


def regrets(summary: Mapping[str, Any], width: int) -> list[str]:
    """What it costs to serve one quadrant with another's config; ``-`` where it cannot."""
    regret = summary.get("regret") or {}
    if not won(summary):
        return []
    rows = [
        [
            joined(served.numeral, served),
            *(percent((regret.get(served) or {}).get(config_of)) for config_of in Quadrant),
        ]
        for served in Quadrant
    ]
    return [
        *paragraph(
            "What a quadrant (row) loses with another's config (column); - where that config "
            "breaks its SLA, was not measured on its traffic, or there is no winner:",
            width,
        ),
        *table("<>>>>", [["", *(quadrant.numeral for quadrant in Quadrant)]], rows),
    ]


def unused(summary: Mapping[str, Any], width: int) -> list[str]:
    knobs = summary["unused_knobs"]
    if not knobs:
        text = "Of no knob can it be said that it made no difference."
    else:
        text = f"Turned alone, these made no difference: {', '.join(knobs)}."
    return paragraph(text, width)


def counts(summary: Mapping[str, Any], width: int) -> list[str]:
    trials = summary["trials"]
    kinds = ("feasible", "infeasible", "failed")
    parts = [joined(str(trials[kind]), kind) for kind in kinds]
    if trials.get("stopped_early"):
        parts.append(joined(str(trials["stopped_early"]), "stopped", "early"))
    tried = joined(str(trials["done"]), "config" if trials["done"] == 1 else "configs")
    return paragraph(f"Tried {tried}: {', '.join(parts)}.", width)


def cost(summary: Mapping[str, Any], width: int) -> list[str]:
    spent = summary["cost"]
    launches = spent["launches"]
    simulated = " (simulated)" if summary["simulated"] else ""
    return paragraph(
        f"Took {duration(spent['wall_s'])}, engine time {duration(spent['engine_s'])}{simulated}, "
        f"{joined(str(launches), 'launch' if launches == 1 else 'launches')}, "
        f"{joined(number(spent['gpu_hours']), 'GPU-hours')}{simulated}.",
        width,
    )


def places(summary: Mapping[str, Any], folder: str) -> list[str]:
    """Files and the command to go on with, each on a line of its own to copy."""
    root = folder.rstrip("/") or folder
    files = {quadrant: shlex.quote(f"{root}/best/{quadrant}.yaml") for quadrant in won(summary)}
    lines = [*files.values(), shlex.quote(f"{root}/summary.json")]
    own = [quadrant for quadrant in own_quadrants(summary) if quadrant in files]
    return [
        "Files:",
        *(GAP + line for line in lines),
        *(["Next:"] if own else []),
        *(f"{GAP}vllm serve --config {files[quadrant]}" for quadrant in own),
    ]
