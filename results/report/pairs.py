"""The finalists beside the default, measured in pairs: how large the gain is and how sure."""

from collections.abc import Mapping
from typing import Any

from objectives import Quadrant
from results.report.drawing import INK, QUIET, axis, hover, layout, line, plain
from results.report.evidence import Evidence
from results.report.marks import COLOURS, SYMBOLS
from results.report.parts import Cell, Figure, Section, Table
from results.text.figures import label, number
from results.text.layout import DASH
from results.text.standing import pairs_of

LEAD = (
    "The best of the search and the default, each launched from its file, in turns, on fresh "
    "draws of the traffic that the search never saw. A gain is claimed when the whole 95 % "
    "interval lies above 1 and still does with all quadrants counted (Holm)."
)
NOT_YET = "No finalist was measured beside the default: gains are as the search saw them."
NONE_FIXED = "In no quadrant did a config look better than the default, so none was confirmed."
ROW_PX = 44
Pairs = Mapping[str, Any]


def confirmed(evidence: Evidence) -> Section:
    found = {q: pairs for q in Quadrant if (pairs := pairs_of(evidence.summary, q))}
    parts: list[str | Table | Figure]
    if found:
        parts = [*_figure(found), _table(found)]
    else:
        parts = [NOT_YET if evidence.summary.get("confirmation") is None else NONE_FIXED]
    return Section(anchor="gain", title="Is the gain real?", lead=LEAD, parts=parts)


def _figure(found: Mapping[Quadrant, Pairs]) -> list[Figure]:
    compared = [(q, pairs) for q, pairs in found.items() if "ratio" in pairs]
    if not compared:
        return []
    traces = [
        trace
        for quadrant, pairs in reversed(compared)
        for trace in (*_modes(quadrant, pairs), _point(_named(quadrant, pairs), pairs, quadrant))
    ]
    ends = [x for t in traces for x in _reach(t)]
    x = axis("times the default", [*ends, 1.0])
    y = {"automargin": True, "type": "category", "fixedrange": True, "showgrid": False}
    figure = Figure(
        name="gain",
        title="Over the default config, with 95 % intervals",
        alt="; ".join(f"{_named(q, pairs)}: {_ratio(pairs)}" for q, pairs in compared),
        traces=traces,
        layout=layout(x, y, showlegend=False, shapes=[line(1.0, along="x", color=QUIET)]),
        height_px=90 + ROW_PX * len(traces),
    )
    return [figure]


def _named(quadrant: Quadrant, pairs: Pairs) -> str:
    return f"{quadrant.numeral} trial {pairs['trial']}"


def _modes(quadrant: Quadrant, pairs: Pairs) -> list[dict[str, Any]]:
    """The engine's own modes, measured in the same pairs."""
    return [
        _point(f"{quadrant.numeral} {mode.replace('_', ' ')}", ratio, None)
        for mode, ratio in reversed(pairs["modes"].items())
    ]


def _point(name: str, found: Pairs, quadrant: Quadrant | None) -> dict[str, Any]:
    ratio, low, high = found["ratio"], found["low"], found["high"]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": plain(name),
        "x": [ratio],
        "y": [plain(name)],
        "marker": {
            "size": 12 if quadrant else 9,
            "color": COLOURS[quadrant] if quadrant else QUIET,
            "symbol": SYMBOLS[quadrant] if quadrant else "line-ns-open",
        },
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [high - ratio],
            "arrayminus": [ratio - low],
            "color": INK if quadrant else QUIET,
            "thickness": 2,
            "width": 6,
        },
        "hovertext": [hover(name, [_ratio(found)])],
        "hoverinfo": "text",
    }


def _reach(trace: Mapping[str, Any]) -> tuple[float, float]:
    (at,) = trace["x"]
    bars = trace["error_x"]
    return at - bars["arrayminus"][0], at + bars["array"][0]


def _table(found: Mapping[Quadrant, Pairs]) -> Table:
    return Table(
        caption="Finalists and what came of them",
        head=["finalist", "goal", "pairs", "times the default (95 %)", "SLA kept", "outcome"],
        rows=[_row(quadrant, pairs) for quadrant, pairs in found.items()],
        align="<<>>><",
    )


def _row(quadrant: Quadrant, pairs: Pairs) -> list[Cell]:
    outcome = str(pairs["outcome"])
    return [
        Cell(text=f"{quadrant.numeral} {quadrant}, trial {pairs['trial']}", head=True),
        Cell(text=label(pairs["goal"])),
        Cell(text=str(pairs.get("pairs", DASH))),
        Cell(text=_ratio(pairs)),
        Cell(text=f"{pairs['sla_kept']} of {pairs['runs']} runs"),
        Cell(text=outcome, tone="good" if outcome == "gain" else ""),
    ]


def _ratio(found: Pairs) -> str:
    if "ratio" not in found:
        return DASH
    return f"{number(found['ratio'])}x ({number(found['low'])}x to {number(found['high'])}x)"
