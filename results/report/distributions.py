"""How latencies are spread over the requests, winners against the default."""

from collections.abc import Sequence
from typing import Any, Literal

from results.report.drawing import (
    PROMISED,
    QUIET,
    axis,
    band,
    ends,
    hover,
    layout,
    line,
    note,
)
from results.report.evidence import Evidence, Latencies
from results.report.marks import Mark, marks
from results.report.parts import Figure, Section
from results.text.figures import number, percent, quantity

LEAD = (
    "The share of all requests at the offered load that were answered within a time: further "
    "left is faster. A request that was never answered keeps its curve below 100 %; an answer of "
    "a single token has no TPOT and is left out there."
)
POINTS = 200
"""Of a curve: more cannot be seen."""
Latency = Literal["ttft", "tpot"]
NAMES: dict[Latency, str] = {
    "ttft": "TTFT, until the first token",
    "tpot": "TPOT, per token after it",
}


def distributions(evidence: Evidence) -> Section:
    parts: list[str | Figure] = []
    for objective in evidence.objectives:
        missing = f"The single requests{evidence.of(objective)} are not at hand."
        figures = (_figure(evidence, objective, latency) for latency in NAMES)
        parts += [figure for figure in figures if figure] or [missing]
    return Section(anchor="requests", title="Latency of single requests", lead=LEAD, parts=parts)


def _figure(evidence: Evidence, objective: str, latency: Latency) -> Figure | None:
    known = [
        (mark, found.unanswered, sorted(times))
        for mark in marks(evidence, objective)
        if (found := evidence.latencies.get((objective, mark.record.number)))
        and (times := _times(found, latency))
    ]
    if not known:
        return None
    metric = f"p95_{latency}_ms"
    limit = evidence.limit(objective, metric)
    reach = [t for _, _, times in known for t in (times[len(times) // 100], times[-1])]
    x = axis(f"{latency.upper()} (ms)", [*reach, *([limit] if limit else [])])
    y = axis("answered within it", range=[0, 1.03], tickformat=".0%")
    return Figure(
        name=f"requests-{objective}-{latency}",
        title=f"{NAMES[latency]}{evidence.of(objective)}",
        alt=(
            f"Share of requests by {latency.upper()} for "
            f"{', '.join(mark.name for mark, _, _ in known)}."
        ),
        traces=[_curve(mark, unanswered, times) for mark, unanswered, times in known],
        layout=layout(x, y, **(_promised(limit, x, metric) if limit else {})),
        height_px=400,
        half=True,
    )


def _times(found: Latencies, latency: Latency) -> Sequence[float]:
    return found.ttft_ms if latency == "ttft" else found.tpot_ms


def _curve(mark: Mark, unanswered: int, times: Sequence[float]) -> dict[str, Any]:
    """Rank over requests, thinned evenly; the last answer is always there."""
    last = len(times) - 1
    kept = sorted({round(i * last / (POINTS - 1)) for i in range(POINTS)})
    shares = [(i + 1) / (len(times) + unanswered) for i in kept]
    return {
        "type": "scatter",
        "mode": "lines",
        "name": mark.name,
        "x": [times[i] for i in kept],
        "y": shares,
        "line": {"color": mark.colour, "width": 2.5, "dash": mark.dash, "shape": "hv"},
        "hovertext": [
            hover(mark.name, [f"{percent(share)} within {number(times[i])} ms"])
            for i, share in zip(kept, shares, strict=True)
        ],
        "hoverinfo": "text",
    }


def _promised(limit: float, x: dict[str, Any], metric: str) -> dict[str, Any]:
    log = "x" if x.get("type") == "log" else ""
    said = f"SLA: 95 % within {quantity(metric, limit)}"
    place = {
        "yref": "y",
        "xanchor": "right",
        "yanchor": "bottom",
        "font": {"color": QUIET, "size": 12},
    }
    return {
        "shapes": [
            band(ends(x)[0], limit, along="x"),
            line(limit, along="x"),
            line(0.95, along="y", dash="dot", color=PROMISED),
        ],
        "annotations": [note(said, x=limit, y=0.02, log=log, **place)],
    }
