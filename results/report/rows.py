"""Knobs and figures as rows on which every config has a place between 0 and 1."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from objectives import Goal
from results.record import TrialRecord
from results.report.drawing import wide
from results.text.figures import label, quantity
from search_spaces import Value

FEW = 6
"""So many different values stand side by side by name; more are on a scale."""
LONGEST = 18
"""Characters of a value's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    name: str
    ticks: Mapping[float, str]
    place: Callable[[TrialRecord], float | None]
    """``None``: the config has none, and its line ends above."""
    result: bool = False


def setting(knob: str, records: Sequence[TrialRecord]) -> Row:
    """A knob; few values and words are spread evenly, many numbers by size."""
    found = {record.config[knob] for record in records if knob in record.config}
    places, ticks = _by_size(found) if _numeric(found) and len(found) > FEW else _by_name(found)
    return Row(name=knob, ticks=ticks, place=lambda record: places.get(record.config.get(knob)))


def result(goal: Goal, records: Sequence[TrialRecord]) -> Row | None:
    """What came of a config; ``None`` where nothing was measured.

    What a config that could not be served was told to the optimiser is no figure of it.
    """

    def value(record: TrialRecord) -> float | None:
        return record.metric(goal.load, goal.metric) if record.complete else None

    values = [v for record in records if (v := value(record)) is not None]
    if not values:
        return None
    places = _spread(values)
    ticks = {places[v]: quantity(goal.metric, v) for v in (min(values), max(values))}
    return Row(
        name=label(goal.metric),
        ticks=ticks,
        place=lambda record: None if (v := value(record)) is None else places[v],
        result=True,
    )


def _numeric(values: set[Value]) -> bool:
    return not any(isinstance(value, (str, bool)) for value in values)


def _by_name(values: set[Value]) -> tuple[dict[Value | None, float], dict[float, str]]:
    ordered = sorted(values, key=lambda v: (isinstance(v, str), v))
    last = max(1, len(ordered) - 1)
    kept = range(0, len(ordered), max(1, len(ordered) // FEW))
    places: dict[Value | None, float] = {v: i / last for i, v in enumerate(ordered)}
    return places, {i / last: said(ordered[i]) for i in kept}


def _by_size(values: set[Value]) -> tuple[dict[Value | None, float], dict[float, str]]:
    ordered = sorted(values, key=float)
    places = _spread([float(value) for value in ordered])
    ends = {places[float(v)]: said(v) for v in (ordered[0], ordered[-1])}
    return {value: places[float(value)] for value in values}, ends


def _spread(values: Sequence[float]) -> dict[float, float]:
    """Places of values between 0 and 1, by their logarithms where they are wide apart."""
    scale = math.log if wide(values) else float
    low, high = scale(min(values)), scale(max(values))
    return {v: (scale(v) - low) / (high - low) if high > low else 0.5 for v in values}


def said(value: Value) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    text = str(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
