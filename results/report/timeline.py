"""What the engines' time went to, from the first launch to the last."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from results.record import TrialRecord
from results.report.drawing import (
    BROKEN,
    FAILED,
    MET,
    PAGE,
    PROMISED,
    QUIET,
    axis,
    hover,
    layout,
    line,
    note,
)
from results.report.evidence import Evidence
from results.report.parts import Figure, Section
from results.text.figures import DAY_S, HOUR_S, MINUTE_S, duration, percent

LEAD = (
    "Every trial in its turn. Time that neither launched nor measured, and time spent on configs "
    "that could not be served, is wasted."
)
LATE = 0.8
MANY = 150
"""Bars too thin for an edge."""
NO_TIME = "No engine was used."
LAUNCHING, MEASURING = "launching", "measuring"
SIZING = "finding the load"
WAITING, FAILING = "wasted: waiting", "wasted: failed configs"
COLOURS = {
    LAUNCHING: "var(--launching)",
    SIZING: PROMISED,
    MEASURING: MET,
    WAITING: BROKEN,
    FAILING: FAILED,
}


@dataclass(frozen=True, slots=True)
class Spell:
    """A stretch of one engine's time."""

    kind: str
    start_s: float
    lasts_s: float
    told: str


def timeline(evidence: Evidence) -> Section:
    spells = list(_spells(evidence))
    total_s = sum(spell.lasts_s for spell in spells)
    parts: list[str | Figure] = [NO_TIME]
    if total_s > 0:
        simulated = "simulated " if evidence.summary["simulated"] else ""
        shares = [
            f"{kind} {percent(spent / total_s)}"
            for kind in COLOURS
            if (spent := sum(s.lasts_s for s in spells if s.kind == kind)) > 0
        ]
        said = f"Of {duration(total_s)} of {simulated}engine time: {', '.join(shares)}."
        parts = [said, _figure(evidence, spells, total_s)]
    return Section(anchor="time", title="Where the engine time went", lead=LEAD, parts=parts)


def launches(records: Sequence[TrialRecord]) -> list[TrialRecord]:
    """One record per trial in order; in ``all`` a trial has one for each kind of traffic."""
    tried = [record for record in records if record.answered]
    return list({(r.number, r.launch_id): r for r in reversed(tried)}.values())[::-1]


def _spells(evidence: Evidence) -> Iterator[Spell]:
    now_s, sizing = 0.0, evidence.asked.sized_to_default
    for record in (*launches(evidence.records), *launches(evidence.confirmations)):
        what = f"trial {record.number}" if record.pair is None else _confirms(record)
        for kind, lasts_s in _parts(record, sizing=sizing):
            if lasts_s > 0:
                yield Spell(kind, now_s, lasts_s, hover(what, [f"{kind} {duration(lasts_s)}"]))
            now_s += lasts_s
        sizing = False


def _confirms(record: TrialRecord) -> str:
    return f"pair {(record.pair or 0) + 1}: {record.arm.replace('_', ' ')}"


def _parts(record: TrialRecord, *, sizing: bool) -> list[tuple[str, float]]:
    """
    Args:
        sizing: whether what neither launched nor measured went to finding the offered load.
    """
    if record.failure is not None and not record.loads:
        return [(FAILING, record.engine_s)]
    waited_s = max(0.0, record.engine_s - record.launch_s - record.measured_s)
    if waited_s < 1e-6 * record.engine_s:
        waited_s = 0.0  # what is left of adding up
    return [
        (LAUNCHING, record.launch_s),
        (SIZING, waited_s if sizing else 0.0),
        (MEASURING, min(record.measured_s, record.engine_s)),
        (WAITING, 0.0 if sizing else waited_s),
    ]


def _figure(evidence: Evidence, spells: Sequence[Spell], total_s: float) -> Figure:
    unit, size_s = _unit(total_s)
    kinds = [kind for kind in COLOURS if any(s.kind == kind for s in spells)]
    searched_s = sum(r.engine_s for r in launches(evidence.records))
    x = axis(f"engine time ({unit})", range=[0, total_s / size_s])
    y = {"automargin": True, "type": "category", "fixedrange": True, "autorange": "reversed"}
    confirmed = bool(evidence.confirmations) and searched_s < total_s
    marked = (
        _confirming(searched_s / size_s, late=searched_s > LATE * total_s) if confirmed else {}
    )
    return Figure(
        name="timeline",
        title="Engine time, trial by trial",
        alt=f"When engines were {', '.join(kinds)} over {duration(total_s)}.",
        traces=[_lane(kind, [s for s in spells if s.kind == kind], size_s) for kind in kinds],
        layout=layout(x, y, showlegend=False, barmode="overlay", bargap=0.3, **marked),
        height_px=110 + 52 * len(kinds),
    )


def _unit(total_s: float) -> tuple[str, float]:
    if total_s > 2 * DAY_S:
        return "d", DAY_S
    if total_s > 2 * HOUR_S:
        return "h", HOUR_S
    return ("min", MINUTE_S) if total_s > 2 * MINUTE_S else ("s", 1)


def _lane(kind: str, spells: Sequence[Spell], size_s: float) -> dict[str, Any]:
    edge = 0.5 if len(spells) < MANY else 0.0
    return {
        "type": "bar",
        "orientation": "h",
        "name": kind,
        "y": [kind] * len(spells),
        "x": [spell.lasts_s / size_s for spell in spells],
        "base": [spell.start_s / size_s for spell in spells],
        "marker": {"color": COLOURS[kind], "line": {"color": PAGE, "width": edge}},
        "hovertext": [spell.told for spell in spells],
        "hoverinfo": "text",
    }


def _confirming(at: float, *, late: bool) -> dict[str, Any]:
    """Where the search ends and the confirmation begins."""
    place = {"yref": "y domain", "xanchor": "right" if late else "left", "yanchor": "bottom"}
    return {
        "shapes": [line(at, along="x", dash="dot", color=QUIET)],
        "annotations": [note("confirming", x=at, y=1.0, **place)],
        "margin": {"l": 56, "r": 16, "t": 24, "b": 48},
    }
