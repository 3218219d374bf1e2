"""Which knobs mattered: an estimate from all trials, and what pairs of trials show."""

from collections.abc import Sequence
from typing import Any

from results.report.drawing import MET, QUIET, axis, hover, layout, plain
from results.report.evidence import Evidence, KnobImportance
from results.report.parts import Figure, Section
from results.text.closing import unused
from results.text.figures import label, percent

LEAD = (
    "How much each knob has to do with being among the best configs, as shares of all knobs "
    "together. An estimate: whiskers hold 80 % of what it comes to on trials drawn anew from the "
    "same, and where the search looked little it knows little. No winner is chosen by it."
)
TOO_FEW = "Too few configs{of} were measured whole to estimate how much each knob matters."
ONE_LINE = 10_000
ROW_PX = 34


def knobs(evidence: Evidence) -> Section:
    parts: list[str | Figure] = []
    for objective in evidence.objectives:
        figures = [
            _figure(evidence, objective, metric, shares)
            for goal in evidence.values[objective]
            if (shares := evidence.importance.get((objective, metric := goal.metric)))
        ]
        parts += figures or [TOO_FEW.format(of=evidence.of(objective))]
    parts += unused(evidence.summary, ONE_LINE)
    return Section(anchor="knobs", title="Which knobs mattered", lead=LEAD, parts=parts)


def _figure(
    evidence: Evidence,
    objective: str,
    metric: str,
    shares: Sequence[KnobImportance],
) -> Figure:
    ordered = sorted(shares, key=lambda found: found.share)
    first = ordered[-1]
    x = axis("share", range=[0, 1.02], tickformat=".0%")
    y: dict[str, Any] = {"automargin": True, "type": "category", "fixedrange": True}
    return Figure(
        name=f"knobs-{objective}-{metric}",
        title=f"For {label(metric)}{evidence.of(objective)}",
        alt=(
            f"Share of each knob in {label(metric)}; most has {first.knob} with "
            f"{percent(first.share)}."
        ),
        traces=[_bars(ordered)],
        layout=layout(x, y, showlegend=False, bargap=0.35),
        height_px=90 + ROW_PX * len(ordered),
        half=True,
    )


def _bars(ordered: Sequence[KnobImportance]) -> dict[str, Any]:
    return {
        "type": "bar",
        "orientation": "h",
        "x": [found.share for found in ordered],
        "y": [plain(found.knob) for found in ordered],
        "marker": {"color": MET},
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [max(0.0, found.high - found.share) for found in ordered],
            "arrayminus": [max(0.0, found.share - found.low) for found in ordered],
            "color": QUIET,
            "thickness": 1.5,
            "width": 4,
        },
        "hovertext": [
            hover(f.knob, [f"{percent(f.share)}, between {percent(f.low)} and {percent(f.high)}"])
            for f in ordered
        ],
        "hoverinfo": "text",
    }
