"""Parallel coordinates: one line per config, one row per knob, what came of it at the bottom.

Rows lie below each other, so that many knobs fit a narrow page and their names stay readable.
"""

from collections.abc import Sequence
from typing import Any

from results.mlflow_runs import varied
from results.record import TrialRecord
from results.report.drawing import (
    BROKEN,
    FAILED,
    FAINT,
    INK,
    MET,
    PAGE,
    QUIET,
    hover,
    layout,
    plain,
)
from results.report.evidence import Evidence
from results.report.marks import marks
from results.report.parts import Figure, Section
from results.report.rows import Row, result, setting
from results.report.told import kept, title

LEAD = (
    "Each line is one config, from its settings at the top to its figures at the bottom. Where "
    "lines of one colour run together, that setting decides."
)
ENDED = "Configs that could not be served have no figures: their lines end above them."
STOPPED = "Trials that stopped early are not drawn."
ROW_PX = 66
MANY = 100
"""Lines that would hide each other, were they not faint."""
HIDDEN = {"visible": False, "fixedrange": True}


def coordinates(evidence: Evidence) -> Section:
    parts = [part for name in evidence.objectives for part in _parts(evidence, name)]
    return Section(
        anchor="settings", title="Settings and what came of them", lead=LEAD, parts=parts
    )


def _parts(evidence: Evidence, objective: str) -> list[str | Figure]:
    mine = [r for r in evidence.records if r.objective == objective and r.answered]
    drawn = [r for r in mine if r.complete or r.failure]
    rows: list[Row | None] = [setting(k, drawn) for k in varied(drawn) if k in evidence.knobs]
    if not rows:
        return [f"No two configs{evidence.of(objective)} that were measured whole differ."]
    rows += [result(goal, drawn) for goal in evidence.values[objective]]
    told = [
        *([ENDED] if any(r.failure for r in drawn) else []),
        *([STOPPED] if len(drawn) < len(mine) else []),
    ]
    figure = _figure(evidence, objective, [row for row in rows if row], drawn)
    return [figure, *([" ".join(told)] if told else [])]


def _figure(
    evidence: Evidence, objective: str, rows: Sequence[Row], drawn: Sequence[TrialRecord]
) -> Figure:
    traces = [
        _lines(evidence, rows, records, name, color=color, width=1.2, dash=dash)
        for name, color, dash, records in (
            ("could not be served", FAILED, "dot", [r for r in drawn if r.failure]),
            ("does not keep the SLA", BROKEN, "dash", [r for r in drawn if _breaks(r)]),
            ("keeps the SLA", MET, "solid", [r for r in drawn if r.complete and r.meets_sla]),
        )
        if records
    ]
    traces += [
        _lines(evidence, rows, [m.record], m.name, color=m.colour, width=4, dash=m.dash)
        for m in marks(evidence, objective)
    ]
    return Figure(
        name=f"settings-{objective}",
        title=f"Settings and figures{evidence.of(objective)}",
        alt=(
            f"{len(drawn)} configs as lines over {len(rows)} rows of settings and figures, by "
            "whether they keep the SLA; default and winners drawn strong."
        ),
        traces=traces,
        layout=_laid_out(rows),
        height_px=100 + ROW_PX * len(rows),
    )


def _breaks(record: TrialRecord) -> bool:
    return record.complete and not record.meets_sla


def _lines(
    evidence: Evidence, rows: Sequence[Row], records: Sequence[TrialRecord], name: str, **look: Any
) -> dict[str, Any]:
    """Configs as one trace, whose lines a gap keeps apart."""
    points: list[tuple[float | None, float | None, str]] = []
    for record in records:
        came = record.failure["kind"] if record.failure else kept(record)
        told = hover(title(evidence, record), [came])
        placed = ((row.place(record), -float(i)) for i, row in enumerate(rows))
        points += [(x, y, told) for x, y in placed if x is not None]
        points.append((None, None, ""))
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": [x for x, _, _ in points],
        "y": [y for _, y, _ in points],
        "line": look,
        "opacity": 1.0 if len(records) == 1 else 0.6 if len(records) < MANY else 0.25,
        "hovertext": [text for _, _, text in points],
        "hoverinfo": "text",
    }


def _laid_out(rows: Sequence[Row]) -> dict[str, Any]:
    notes = [note for i, row in enumerate(rows) for note in (_name(row, -i), *_ticks(row, -i))]
    shapes = [
        {
            "type": "line",
            "x0": 0,
            "x1": 1,
            "y0": -i,
            "y1": -i,
            "line": {"color": FAINT, "width": 1.5},
        }
        | {"layer": "below"}
        for i in range(len(rows))
    ]
    x = HIDDEN | {"range": [-0.02, 1.02]}
    y = HIDDEN | {"range": [0.6 - len(rows), 0.6]}
    margin = {"l": 8, "r": 8, "t": 8, "b": 8}
    return layout(x, y, shapes=shapes, annotations=notes, margin=margin)


def _name(row: Row, y: int) -> dict[str, Any]:
    text = plain(row.name)
    place = {"x": 0, "y": y, "xanchor": "left", "yanchor": "bottom", "yshift": 3}
    return _words(f"<b>{text}</b>" if row.result else text, INK, **place)


def _ticks(row: Row, y: int) -> list[dict[str, Any]]:
    below = {"y": y, "yanchor": "top", "yshift": -2}
    return [
        _words(plain(text), QUIET, x=x, xanchor=_anchor(x), **below)
        for x, text in row.ticks.items()
    ]


def _anchor(x: float) -> str:
    return "left" if x <= 0 else "right" if x >= 1 else "center"


def _words(text: str, color: str, **place: Any) -> dict[str, Any]:
    return {
        "text": text,
        "showarrow": False,
        "font": {"color": color, "size": 12},
        "bgcolor": PAGE,
        "borderpad": 1,
        **place,
    }
