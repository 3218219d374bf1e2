"""The finalists beside the default, measured in pairs on fresh traffic."""

from collections.abc import Mapping
from typing import Any

from objectives import Quadrant
from results.text.figures import label, number
from results.text.layout import DASH, entry, joined, paragraph, table
from results.text.standing import pairs_of

HEADERS = (
    ("", "", "", "", "", "SLA", ""),
    ("", "trial", "goal", "pairs", "over the default", "kept", ""),
)
ALIGN = "<><>>><"


def confirmation(summary: Mapping[str, Any], width: int) -> list[str]:
    """A table of every finalist; nothing before there is one."""
    found = {q: pairs for q in Quadrant if (pairs := pairs_of(summary, q)) is not None}
    if not found:
        return []
    rows = [_row(quadrant, pairs) for quadrant, pairs in found.items()]
    lines = table(ALIGN, HEADERS, rows)
    if max(map(len, lines)) > width:
        lines = [line for q, pairs in found.items() for line in _narrow(q, pairs, width)]
    return [*paragraph(_introduced(), width), *lines, *_modes(found, width)]


def _introduced() -> str:
    return (
        "The best of the search against the default, each launched from its file, in turns, on "
        "fresh draws of the traffic (95 % interval of the paired ratio, above 1 is better; a gain "
        "must hold for all quadrants together, by Holm):"
    )


def _row(quadrant: Quadrant, pairs: Mapping[str, Any]) -> list[str]:
    return [
        quadrant.numeral,
        str(pairs["trial"]),
        label(pairs["goal"]),
        str(pairs.get("pairs", DASH)),
        _ratio(pairs),
        f"{pairs['sla_kept']}/{pairs['runs']}",
        pairs["outcome"],
    ]


def _narrow(quadrant: Quadrant, pairs: Mapping[str, Any], width: int) -> list[str]:
    compared, runs = pairs.get("pairs"), pairs["runs"]
    told = (
        *([f"{_ratio(pairs)} in {joined(str(compared), 'pairs')}"] if compared else []),
        *([f"SLA kept in {pairs['sla_kept']} of {joined(str(runs), 'runs')}"] if runs else []),
        pairs["outcome"],
    )
    text = f"{joined('trial', str(pairs['trial']))}, {label(pairs['goal'])}: {', '.join(told)}"
    return entry(quadrant.numeral, text, width)


def _ratio(found: Mapping[str, Any]) -> str:
    if "ratio" not in found:
        return DASH
    between = f"({number(found['low'])}x to {number(found['high'])}x)"
    return joined(f"{number(found['ratio'])}x", between)


def _modes(found: Mapping[Quadrant, Mapping[str, Any]], width: int) -> list[str]:
    """The engine's own modes, by the goal of each quadrant."""
    told = [
        f"{joined(mode.replace('_', '-'))} {joined(q.numeral)} {_ratio(ratio)}"
        for q, pairs in found.items()
        for mode, ratio in pairs["modes"].items()
    ]
    return paragraph(f"In the same pairs: {', '.join(told)}.", width) if told else []
