"""Throughput against latency: every config measured whole, the front, and where the SLA holds."""

from collections.abc import Sequence
from typing import Any

from objectives import Goal
from results.record import TrialRecord
from results.report.drawing import (
    BROKEN,
    INK,
    MET,
    PAGE,
    QUIET,
    axis,
    band,
    ends,
    layout,
    line,
    named,
    note,
)
from results.report.evidence import Evidence
from results.report.marks import Mark, marks
from results.report.parts import Figure, Section
from results.report.told import told
from results.text.figures import label, quantity
from results.text.margins import split

LEAD = (
    "Each point is one config. Right is more throughput, down is less latency; the stepped line "
    "joins the configs that no other beats in both."
)
Points = Sequence[tuple[TrialRecord, float, float]]


def frontier(evidence: Evidence) -> Section:
    parts: list[str | Figure] = []
    for objective in evidence.objectives:
        throughput, latency = evidence.values[objective]
        figures = [
            figure
            for goal in _latencies(evidence, objective, latency)
            if (figure := _figure(evidence, objective, throughput, goal, first=goal == latency))
        ]
        missing = f"No config{evidence.of(objective)} was measured whole."
        parts += [*figures, *_left_out(evidence, objective)] if figures else [missing]
    return Section(anchor="frontier", title="Throughput and latency", lead=LEAD, parts=parts)


def _latencies(evidence: Evidence, objective: str, first: Goal) -> list[Goal]:
    """What the front is drawn in, then every other latency that the SLA bounds."""
    bounded = [Goal("offered", split(name)[0]) for name in evidence.bounds(objective)]
    others = [goal for goal in bounded if goal.metric.endswith("_ms") and goal != first]
    return [first, *dict.fromkeys(others)]


def _figure(
    evidence: Evidence, objective: str, throughput: Goal, latency: Goal, *, first: bool
) -> Figure | None:
    points = [
        (record, x, y)
        for record in evidence.whole(objective)
        if (x := record.metric(throughput.load, throughput.metric)) is not None
        and (y := record.metric(latency.load, latency.metric)) is not None
    ]
    if not points:
        return None
    limit = evidence.limit(objective, latency.metric)
    across = axis(named(throughput.metric), [x for _, x, _ in points])
    up = axis(
        f"{named(latency.metric)}, offered load",
        [*(y for _, _, y in points), *([] if limit is None else [limit])],
    )
    traces = [*_cloud(evidence, points), *(_front(evidence, objective, points) if first else [])]
    traces += _marked(evidence, marks(evidence, objective), points)
    what = f"{label(throughput.metric)} and {label(latency.metric)}"
    shaded = "" if limit is None else "; the region within the SLA is shaded"
    return Figure(
        name=f"frontier-{objective}-{latency.metric}",
        title=f"{what[:1].upper()}{what[1:]}{evidence.of(objective)}",
        alt=f"{len(points)} configs by {what}, default and winners marked{shaded}.",
        traces=traces,
        layout=layout(across, up, **(_promised(limit, up, latency) if limit is not None else {})),
        height_px=500 if first else 380,
    )


def _promised(limit: float, y: dict[str, Any], latency: Goal) -> dict[str, Any]:
    """The region in which the SLA's bound on this latency holds."""
    said = f"within the SLA: {label(latency.metric)} up to {quantity(latency.metric, limit)}"
    where = {"xref": "x domain", "xanchor": "right", "yanchor": "top"}
    log = "y" if y.get("type") == "log" else ""
    return {
        "shapes": [band(ends(y)[0], limit, along="y"), line(limit, along="y")],
        "annotations": [note(said, x=0.995, y=limit, log=log, **where)],
    }


def _cloud(evidence: Evidence, points: Points) -> list[dict[str, Any]]:
    keeps = [point for point in points if point[0].meets_sla]
    breaks = [point for point in points if not point[0].meets_sla]
    marker = {"size": 9, "opacity": 0.75}
    return [
        _scatter(evidence, name, of, marker={**marker, **sign})
        for name, of, sign in (
            ("keeps the SLA", keeps, {"color": MET, "symbol": "circle"}),
            ("does not keep it", breaks, {"color": BROKEN, "symbol": "x"}),
        )
        if of
    ]


def _front(evidence: Evidence, objective: str, points: Points) -> list[dict[str, Any]]:
    """Steps: what is between two configs of the front can only be had from the better one."""
    only = evidence.objectives[0]
    front = {
        entry["trial"]
        for entry in evidence.summary["front"]
        if entry.get("objective", only) == objective
    }
    on_it = sorted((x, y) for record, x, y in points if record.number in front)
    if len(on_it) < 2:
        return []
    return [
        {
            "type": "scatter",
            "mode": "lines",
            "name": "front",
            "x": [x for x, _ in on_it],
            "y": [y for _, y in on_it],
            "line": {"color": QUIET, "width": 1.5, "shape": "vh"},
            "hoverinfo": "skip",
        }
    ]


def _marked(evidence: Evidence, shown: Sequence[Mark], points: Points) -> list[dict[str, Any]]:
    at = {record.number: (record, x, y) for record, x, y in points}
    return [
        _scatter(
            evidence,
            mark.name,
            [at[mark.record.number]],
            mode="markers+text",
            text=[mark.short],
            textposition="top center" if index % 2 else "bottom center",
            textfont={"color": INK, "size": 13},
            cliponaxis=False,
            marker={
                "size": 15,
                "symbol": mark.symbol,
                "color": mark.colour,
                "line": {"color": PAGE, "width": 1.5},
            },
        )
        for index, mark in enumerate(shown)
        if mark.record.number in at
    ]


def _scatter(evidence: Evidence, name: str, points: Points, **more: Any) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [x for _, x, _ in points],
        "y": [y for _, _, y in points],
        "hovertext": [told(evidence, record) for record, _, _ in points],
        "hoverinfo": "text",
        **more,
    }


def _left_out(evidence: Evidence, objective: str) -> list[str]:
    """How many trials are not drawn, and why."""
    mine = [r for r in evidence.records if r.objective == objective and r.answered]
    stopped = sum(r.stopped_early and r.failure is None for r in mine)
    failed = sum(r.failure is not None for r in mine)
    counted = [
        *([f"{stopped} that stopped early, with figures of part of a run"] if stopped else []),
        *([f"{failed} that could not be served"] if failed else []),
    ]
    return [f"Not drawn{evidence.of(objective)}: {'; '.join(counted)}."] if counted else []
