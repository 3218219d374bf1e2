"""Each config's latency over load, from the probes of its capacity search."""

from collections.abc import Mapping, Sequence
from typing import Any

from results.record import TrialRecord
from results.report.drawing import (
    FAINT,
    QUIET,
    axis,
    band,
    ends,
    hover,
    layout,
    line,
    named,
    note,
)
from results.report.evidence import Evidence
from results.report.marks import Mark, marks
from results.report.parts import Figure, Section
from results.text.figures import label, number, quantity
from results.text.margins import split

LEAD = (
    "Every config was asked at rising load until the SLA broke: a filled point held, a hollow one "
    "did not. Runs past the breaking point end early and show what had finished by then."
)
METRICS = ("p95_ttft_ms", "p95_tpot_ms", "p95_e2el_ms")
"""What is kept of a probe."""
Curve = Sequence[Mapping[str, Any]]


def curves(evidence: Evidence) -> Section:
    parts: list[str | Figure] = []
    for objective in evidence.objectives:
        missing = f"No load besides the offered one was measured{evidence.of(objective)}."
        parts += _figures(evidence, objective) or [missing]
    return Section(anchor="load", title="Latency over load", lead=LEAD, parts=parts)


def _figures(evidence: Evidence, objective: str) -> list[Figure]:
    probed = {r.number: curve for r in evidence.whole(objective) if (curve := _curve(r))}
    bounded = [split(name)[0] for name in evidence.bounds(objective)]
    shown = [m for m in METRICS if m in bounded] or list(METRICS[:2])
    figures = (_figure(evidence, objective, probed, metric) for metric in shown)
    return [figure for figure in figures if figure]


def _curve(record: TrialRecord) -> Curve:
    """Probes by load; none of what was sent all at once."""
    probes = record.loads.get("capacity", {}).get("probes", [])
    return sorted((p for p in probes if p["level"] is not None), key=lambda p: p["level"])


def _figure(
    evidence: Evidence, objective: str, probed: Mapping[int, Curve], metric: str
) -> Figure | None:
    probes = [p for curve in probed.values() for p in curve if p.get(metric) is not None]
    if not probes:
        return None
    limit = evidence.limit(objective, metric)
    workload = evidence.summary["workloads"][objective]
    offered = workload.get("concurrency") or workload.get("request_rate")
    level = "requests in flight" if workload.get("concurrency") else "offered load (req/s)"
    x = axis(level, [*(p["level"] for p in probes), *([offered] if offered else [])])
    y = axis(named(metric), [*(p[metric] for p in probes), *([limit] if limit else [])])
    shown = [m for m in marks(evidence, objective) if m.record.number in probed]
    others = probed.keys() - {m.record.number for m in shown}
    return Figure(
        name=f"load-{objective}-{metric}",
        title=f"{label(metric)} over load{evidence.of(objective)}",
        alt=(
            f"{label(metric)} of {len(probed)} configs at the loads they were probed with, "
            "default and winners drawn strong."
        ),
        traces=[
            *([_faint({n: probed[n] for n in sorted(others)}, metric)] if others else []),
            *(_strong(mark, probed[mark.record.number], metric) for mark in shown),
        ],
        layout=layout(x, y, **_lines(limit, offered, x, y, metric)),
        height_px=440,
        half=True,
    )


def _lines(
    limit: float | None,
    offered: float | None,
    x: Mapping[str, Any],
    y: Mapping[str, Any],
    metric: str,
) -> dict[str, Any]:
    """The region that the SLA leaves, and the load that was asked for."""
    shapes, notes = [], []
    if limit:
        shapes += [band(ends(y)[0], limit, along="y"), line(limit, along="y")]
        place = {"xref": "x domain", "xanchor": "left", "yanchor": "bottom"}
        log = "y" if y.get("type") == "log" else ""
        notes.append(note(f"SLA {quantity(metric, limit)}", x=0.01, y=limit, log=log, **place))
    if offered:
        shapes.append(line(offered, along="x", dash="dot", color=QUIET))
        place = {"yref": "y domain", "xanchor": "left", "yanchor": "bottom"}
        log = "x" if x.get("type") == "log" else ""
        notes.append(note("offered load", x=offered, y=0.01, log=log, **place))
    return {"shapes": shapes, "annotations": notes}


def _faint(probed: Mapping[int, Curve], metric: str) -> dict[str, Any]:
    """All other configs as one trace, whose lines a gap keeps apart."""
    points: list[tuple[float | None, float | None, str]] = []
    for trial, curve in probed.items():
        points += [(p["level"], p.get(metric), _told(f"trial {trial}", p, metric)) for p in curve]
        points.append((None, None, ""))
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "other configs",
        "x": [x for x, _, _ in points],
        "y": [y for _, y, _ in points],
        "line": {"color": FAINT, "width": 1},
        "hovertext": [text for _, _, text in points],
        "hoverinfo": "text",
    }


def _strong(mark: Mark, curve: Curve, metric: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": mark.name,
        "x": [p["level"] for p in curve],
        "y": [p.get(metric) for p in curve],
        "line": {"color": mark.colour, "width": 2.5, "dash": mark.dash},
        "marker": {
            "size": 9,
            "color": mark.colour,
            "symbol": [mark.symbol if p["holds"] else f"{mark.symbol}-open" for p in curve],
        },
        "hovertext": [_told(mark.name, probe, metric) for probe in curve],
        "hoverinfo": "text",
    }


def _told(name: str, probe: Mapping[str, Any], metric: str) -> str:
    verdict = str(probe.get("verdict") or ("met" if probe["holds"] else "broken"))
    at = f"at {number(probe['level'])}: {label(metric)} {quantity(metric, probe.get(metric))}"
    return hover(name, [at, f"SLA {verdict}"])
