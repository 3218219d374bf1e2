"""How much of a promise is used up, and where a gain lies beside the default."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from objectives.measurement import HIGHER_IS_BETTER
from results.text.margins import margin, split

ROOM = 0.15
"""Of the interval's width, left free at either end of its picture."""


@dataclass(frozen=True, slots=True)
class Margin:
    """One bound of the SLA: how much of it is used up."""

    text: str
    used_percent: float | None
    """Of the limit, 100 at most; ``None``: not measured, or bounded from below."""
    verdict: str


@dataclass(frozen=True, slots=True)
class Interval:
    """Where on a scale from 0 to 100 an interval, its middle and the default lie."""

    low: float
    high: float
    at: float
    default: float
    text: str


def margin_of(name: str, judged: Mapping[str, Any]) -> Margin:
    metric, sense = split(name)
    value, limit = judged["value"], float(judged["limit"])
    bounded_above = sense == "<=" and metric not in HIGHER_IS_BETTER
    used = min(100.0, 100 * value / limit) if bounded_above and value is not None else None
    claim = judged.get("claim")
    undecided = claim == "undecided" and judged["verdict"] == "met"
    return Margin(margin(name, judged), used, "undecided" if undecided else judged["verdict"])


def interval_of(best: Mapping[str, Any], pairs: Mapping[str, Any] | None) -> Interval | None:
    found = pairs if pairs and "ratio" in pairs else best.get("gain") or {}
    low, high, ratio = found.get("low"), found.get("high"), found.get("ratio")
    if low is None or high is None or ratio is None:
        return None
    least, most = min(low, 1.0), max(high, 1.0)
    room = ROOM * (most - least) or ROOM
    start, width = least - room, most - least + 2 * room
    low_at, high_at, at, one = (100 * (x - start) / width for x in (low, high, ratio, 1.0))
    text = f"{ratio:.3g} times as good as the default, between {low:.3g} and {high:.3g}"
    return Interval(low_at, high_at, at, one, text)
