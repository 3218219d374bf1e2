"""How the default config and the winners are marked, alike in every figure."""

from dataclasses import dataclass

from objectives import Quadrant
from results.record import TrialRecord
from results.report.drawing import INK
from results.report.evidence import Evidence

COLOURS = {
    Quadrant.LIVE_AT_SCALE: "var(--live-at-scale)",
    Quadrant.INTERACTIVE: "var(--interactive)",
    Quadrant.ECONOMY: "var(--economy)",
    Quadrant.BULK: "var(--bulk)",
}
DASHES = {
    Quadrant.LIVE_AT_SCALE: "solid",
    Quadrant.INTERACTIVE: "dash",
    Quadrant.ECONOMY: "dashdot",
    Quadrant.BULK: "longdash",
}
SYMBOLS = {
    Quadrant.LIVE_AT_SCALE: "star",
    Quadrant.INTERACTIVE: "diamond",
    Quadrant.ECONOMY: "triangle-up",
    Quadrant.BULK: "hexagon",
}
"""Colour is never the only sign."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One config that is shown by name."""

    record: TrialRecord
    short: str
    """``I, III`` or ``default``."""
    name: str
    colour: str
    dash: str
    symbol: str


def marks(evidence: Evidence, objective: str) -> list[Mark]:
    """The default, then each winner once however many quadrants it wins."""
    default, won = evidence.default(objective), evidence.winners(objective)
    by_number = {r.number: r for r in evidence.whole(objective)}
    found = []
    if default is not None:
        found.append(_default(default, won.get(default.number, [])))
    for number, quadrants in won.items():
        if number in by_number and (default is None or number != default.number):
            found.append(_winner(by_number[number], quadrants))
    return found


def _default(record: TrialRecord, won: list[Quadrant]) -> Mark:
    name = f"default config, trial {record.number}"
    wins = ", ".join(quadrant.numeral for quadrant in won)
    return Mark(
        record=record,
        short=f"default = {wins}" if wins else "default",
        name=f"{name} (wins {wins})" if wins else name,
        colour=INK,
        dash="dot",
        symbol="square",
    )


def _winner(record: TrialRecord, won: list[Quadrant]) -> Mark:
    first = won[0]
    short = ", ".join(quadrant.numeral for quadrant in won)
    return Mark(
        record=record,
        short=short,
        name=f"winner {short}, trial {record.number}",
        colour=COLOURS[first],
        dash=DASHES[first],
        symbol=SYMBOLS[first],
    )
