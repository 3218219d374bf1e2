"""Axes, colours and hover texts that the report's figures share.

Traps: plotly reads a few HTML tags in every text it draws, so text that others wrote is escaped
here; on a logarithmic axis shapes are placed by values and annotations by their logarithms.
"""

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from results.text.figures import label, number, unit
from results.text.layout import WORD_JOIN

INK, QUIET, GRID, FAINT = "var(--ink)", "var(--quiet)", "var(--grid)", "var(--faint)"
MET, BROKEN, FAILED, PROMISED = "var(--met)", "var(--broken)", "var(--failed)", "var(--promised)"
PAGE = "var(--page)"
WIDE = 8.0
"""Values further apart than so many times are drawn on a logarithmic axis."""


def plain(text: str) -> str:
    """Text that is drawn as it is, whatever it holds."""
    return html.escape(text.replace(WORD_JOIN, " "), quote=False)


def named(metric: str) -> str:
    """``p95 TTFT (ms)``."""
    shown = unit(metric)
    return f"{plain(label(metric))} ({shown})" if shown else plain(label(metric))


def hover(title: str, lines: Iterable[str]) -> str:
    return "<br>".join([f"<b>{plain(title)}</b>", *map(plain, lines)])


def wide(values: Sequence[float]) -> bool:
    """Whether values want a logarithmic axis."""
    return bool(values) and min(values) > 0 and max(values) / min(values) > WIDE


def axis(title: str, values: Sequence[float] = (), **more: Any) -> dict[str, Any]:
    """An axis that holds the values, logarithmic where they are wide apart."""
    found: dict[str, Any] = {
        "title": {"text": title, "standoff": 8},
        "gridcolor": GRID,
        "linecolor": GRID,
        "zeroline": False,
        "automargin": True,
        "ticks": "outside",
        "tickcolor": GRID,
        "fixedrange": False,
    }
    if wide(values):
        low, high = math.log10(min(values)), math.log10(max(values))
        room = 0.06 * (high - low)
        found |= {"type": "log", "range": [low - room, high + room]}
        found |= _ticks(low - room, high + room)
    elif values:
        room = 0.06 * (max(values) - min(values)) or 0.1 * abs(max(values)) or 1.0
        least = min(values) - room
        found["range"] = [least if min(values) < 0 else max(0.0, least), max(values) + room]
    return found | more


def _ticks(low: float, high: float) -> dict[str, Any]:
    """1, 2 and 5 of every power of ten in reach; plotly alone would print a lonely 2 or 5."""
    steps = (1,) if high - low > 3 else (1, 3) if high - low > 2 else (1, 2, 5)
    powers = range(math.floor(low), math.ceil(high) + 1)
    values = [m * 10.0**p for p in powers for m in steps]
    kept = [v for v in values if low <= math.log10(v) <= high]
    return {"tickvals": kept, "ticktext": [number(v) for v in kept]}


def ends(found: Mapping[str, Any]) -> tuple[float, float]:
    """Of an axis with a range, its ends as values."""
    low, high = found["range"]
    return (10.0**low, 10.0**high) if found.get("type") == "log" else (low, high)


def layout(x: Mapping[str, Any], y: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "xaxis": dict(x),
        "yaxis": dict(y),
        "font": {"color": INK, "size": 13},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "margin": {"l": 56, "r": 16, "t": 8, "b": 48},
        "hoverlabel": {
            "bgcolor": PAGE,
            "bordercolor": GRID,
            "font": {"color": INK},
            "align": "left",
        },
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "xanchor": "left"},
        "hovermode": "closest",
        **more,
    }


def band(low: float, high: float, *, along: str) -> dict[str, Any]:
    """The region that a promise leaves, across the whole figure; ``along`` is ``x`` or ``y``."""
    across = "y" if along == "x" else "x"
    return {
        "type": "rect",
        f"{along}ref": along,
        f"{along}0": low,
        f"{along}1": high,
        f"{across}ref": f"{across} domain",
        f"{across}0": 0,
        f"{across}1": 1,
        "fillcolor": PROMISED,
        "opacity": 0.1,
        "line": {"width": 0},
        "layer": "below",
    }


def line(at: float, *, along: str, dash: str = "dash", color: str = PROMISED) -> dict[str, Any]:
    """A line at one value of the axis ``along``."""
    across = "y" if along == "x" else "x"
    return {
        "type": "line",
        f"{along}ref": along,
        f"{along}0": at,
        f"{along}1": at,
        f"{across}ref": f"{across} domain",
        f"{across}0": 0,
        f"{across}1": 1,
        "line": {"color": color, "width": 1.5, "dash": dash},
        "layer": "below",
    }


def note(text: str, *, x: float, y: float, log: str = "", **more: Any) -> dict[str, Any]:
    """Words beside a line, placed by values; ``log`` names the axes that are logarithmic."""
    return {
        "text": plain(text),
        "x": math.log10(x) if "x" in log else x,
        "y": math.log10(y) if "y" in log else y,
        "showarrow": False,
        "font": {"color": QUIET, "size": 12},
        **more,
    }
