"""What it costs to serve one quadrant with the config of another."""

from collections.abc import Mapping
from typing import Any

from objectives import Quadrant
from results.report.evidence import Evidence
from results.report.parts import Cell, Section, Table
from results.text.figures import percent
from results.text.layout import DASH
from results.text.standing import won

LEAD = (
    "One fleet for several uses? Each row is a use, each column the config it is served with, "
    "each cell the share of the row's goal that is lost."
)
NONE_WON = "No quadrant has a winner, so there is nothing to compare."
DASHED = (
    f"{DASH} where that config breaks the row's SLA, was not measured on its traffic, or there is "
    "no winner."
)
MUCH = 0.1


def regrets(evidence: Evidence) -> Section:
    parts: list[str | Table]
    parts = [_table(evidence.summary), DASHED] if won(evidence.summary) else [NONE_WON]
    return Section(anchor="regret", title="One config for another use", lead=LEAD, parts=parts)


def _table(summary: Mapping[str, Any]) -> Table:
    regret = summary.get("regret") or {}
    rows = [
        [
            Cell(text=f"{served.numeral} {served}", head=True),
            *(_cell((regret.get(served) or {}).get(config_of)) for config_of in Quadrant),
        ]
        for served in Quadrant
    ]
    return Table(
        caption="Share of the goal lost",
        head=["served", *(f"config of {quadrant.numeral}" for quadrant in Quadrant)],
        rows=rows,
        align="<>>>>",
    )


def _cell(lost: float | None) -> Cell:
    if lost is None:
        return Cell(text=DASH, tone="quiet")
    return Cell(text=percent(lost), tone="good" if lost == 0 else "bad" if lost > MUCH else "")
