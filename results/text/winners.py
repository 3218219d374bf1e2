"""The answer itself: the table of the four quadrants, then a block for each winner."""

from collections.abc import Mapping
from typing import Any

from objectives import Quadrant
from results.text.block import block
from results.text.figures import goal, number
from results.text.gain import gain_cell
from results.text.layout import DASH, joined, paragraph, table
from results.text.pairs import confirmation
from results.text.standing import (
    ALL,
    has_capacity,
    own_quadrants,
    pairs_of,
    why_none,
    winner,
    won,
)

HEADERS = (
    ("", "", "", "", "p95 TTFT", "p95 TPOT", "capacity", "saturated", "gain on"),
    ("", "quadrant", "trial", "goal", "ms", "ms", "req/s", "tok/s/GPU", "default"),
)
ALIGN = "<<><>>>><"


def winners(summary: Mapping[str, Any], width: int) -> list[list[str]]:
    """Sections of lines: the table, what is still open, the blocks; no table where none fits."""
    lines = table(ALIGN, HEADERS, [_row(summary, quadrant) for quadrant in Quadrant])
    fits = max(map(len, lines)) <= width
    return [
        [*paragraph(served(summary), width), *(["", *lines] if fits else [])],
        _unconfirmed(summary, width),
        confirmation(summary, width),
        *(
            block(summary, quadrant, width, alone=not fits)
            for quadrant in (won(summary) if fits else Quadrant)
        ),
    ]


def served(summary: Mapping[str, Any]) -> str:
    """Whose traffic and whose SLA each quadrant was served under."""
    name, own = summary["objective"], own_quadrants(summary)
    if name == ALL:
        named = ", ".join(joined(q.numeral, q.representative) for q in Quadrant)
        return f"Each quadrant on the traffic and under the SLA of its objective: {named}."
    others = ", ".join(joined(q.numeral, q.representative) for q in Quadrant if q not in own)
    mine = own[0].numeral
    text = (
        f"The {name} traffic served four ways: {mine} under the SLA of {name}, the others under "
        f"those of {others}."
    )
    if not has_capacity(summary):
        return text
    return f"{text} Capacity and GPUs needed are those at which the SLA of {name} holds."


def _row(summary: Mapping[str, Any], quadrant: Quadrant) -> list[str]:
    best = winner(summary, quadrant)
    if best is None:
        return [quadrant.numeral, quadrant, DASH, why_none(summary, quadrant)]
    offered, capacity = best["loads"].get("offered", {}), best["loads"].get("capacity", {})
    return [
        quadrant.numeral,
        quadrant,
        str(best["trial"]),
        goal(best["goal"]["metric"], best["goal"]["value"]),
        number(offered.get("p95_ttft_ms")),
        number(offered.get("p95_tpot_ms")),
        number(capacity.get("capacity")),
        number(capacity.get("output_throughput_per_gpu")),
        gain_cell(best, pairs_of(summary, quadrant)),
    ]


def _unconfirmed(summary: Mapping[str, Any], width: int) -> list[str]:
    found = won(summary)
    still = [quadrant.numeral for quadrant, best in found.items() if not best["confirmed"]]
    if not still:
        return []
    which = "" if len(still) == len(found) else f" ({', '.join(still)})"
    return paragraph(f"Not yet confirmed with fresh seeds{which}.", width)
