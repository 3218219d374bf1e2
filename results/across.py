"""What changed between studies: winners side by side, and which differences chance cannot explain.

The runs that confirmed a winner are held against those of the other study's, on the same draws of
the traffic where both had them, else unpaired (Welch); Holm over all that is reported. Studies
have no state of the machine in common: what each winner is worth beside its own default, measured
in the same pairs, is compared as well, for there it cancels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from objectives import Goal, Quadrant
from results.change import Change, Told
from results.comparable import differences, same_draws
from results.comparison import Comparison, effects, holm, paired, welch
from results.sides import COMPARED_BY, Side, better

SCHEMA_VERSION = 1
FEWEST = 2
"""Runs of each, to tell how much one run differs from the next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Across:
    """Studies side by side, the first of which the others are compared with."""

    sides: tuple[Side, ...]
    changes: tuple[Change, ...]

    def of(self, quadrant: Quadrant) -> list[Change]:
        return [change for change in self.changes if change.quadrant is quadrant]

    @property
    def told(self) -> int:
        """How many comparisons Holm allows for."""
        found = [told for c in self.changes for told in (c.level, c.over_default) if told]
        return len(found)

    def to_json(self) -> dict[str, Any]:
        return {
            "schema_version": SCHEMA_VERSION,
            "studies": [_study(side) for side in self.sides],
            "quadrants": {quadrant: self._quadrant(quadrant) for quadrant in Quadrant},
        }

    def _quadrant(self, quadrant: Quadrant) -> dict[str, Any]:
        return {
            "compared_by": COMPARED_BY[quadrant].metric,
            "differing_knobs": differing_knobs(self.sides, quadrant),
            "winners": {side.label: _winner(side, quadrant) for side in self.sides},
            "changes": [change.to_json() for change in self.of(quadrant)],
        }


def compare(sides: Sequence[Side]) -> Across:
    """Every quadrant's winner of every study beside the first study's."""
    first, *others = sides
    found = [_change(first, other, quadrant) for quadrant in Quadrant for other in others]
    return Across(sides=tuple(sides), changes=tuple(_judged(found)))


def differing_knobs(sides: Sequence[Side], quadrant: Quadrant) -> list[str]:
    """Knobs that the winners do not all set alike."""
    configs = [best["config"] for side in sides if (best := side.best(quadrant))]
    names = dict.fromkeys(name for config in configs for name in config)
    return [name for name in names if len({repr(config.get(name)) for config in configs}) > 1]


_Found = tuple[Change, Comparison | None, Comparison | None]


def _change(first: Side, other: Side, quadrant: Quadrant) -> _Found:
    goal, change = COMPARED_BY[quadrant], Change(quadrant=quadrant, label=other.label)
    figures = [side.figure(quadrant, goal) for side in (first, other)]
    if why_not := _missing((first, other), quadrant, figures):
        return replace(change, why_not=tuple(why_not)), None, None
    if why_not := differences(first, other, quadrant, goal):
        return replace(change, why_not=tuple(why_not)), None, None
    before, after = figures
    assert before is not None
    assert after is not None
    change = replace(change, ratio=better(after, before, goal))
    return _by_runs(change, first, other, goal)


def _by_runs(change: Change, first: Side, other: Side, goal: Goal) -> _Found:
    quadrant, sides = change.quadrant, (first, other)
    runs = [side.confirmed(quadrant, goal) for side in sides]
    same = same_draws(first, other, quadrant)
    change = replace(change, runs=(len(runs[0]), len(runs[1])), same_draws=same)
    few = [
        f"{side.label}'s winner has {len(found)} confirming runs"
        for side, found in zip(sides, runs, strict=True)
        if len(found) < FEWEST
    ]
    if few:
        return replace(change, why_not=tuple(few)), None, None
    good = [{pair: better(value, 1.0, goal) for pair, value in found.items()} for found in runs]
    gains = [side.over_default(quadrant, goal) for side in sides]
    # Two defaults gain nothing over themselves.
    gained = any(gain != 1 for found in gains for gain in found.values())
    return change, _compared(good, same=same), _compared(gains, same=same) if gained else None


def _compared(sides: Sequence[Mapping[int, float]], *, same: bool) -> Comparison | None:
    """Of figures by pair, more of which is better."""
    before, after = sides
    both = sorted(before.keys() & after.keys())
    if same and len(both) >= FEWEST:
        return paired([after[pair] / before[pair] for pair in both])
    if min(len(before), len(after)) < FEWEST:
        return None
    return welch(list(before.values()), list(after.values()))


def _missing(
    sides: tuple[Side, Side], quadrant: Quadrant, figures: Sequence[float | None]
) -> list[str]:
    metric = COMPARED_BY[quadrant].metric
    found = []
    for side, figure in zip(sides, figures, strict=True):
        if side.best(quadrant) is None:
            found.append(f"no winner in {side.label}")
        elif figure is None:
            found.append(f"{metric} was not measured in {side.label}")
    return found


def _judged(found: Sequence[_Found]) -> list[Change]:
    """Every change with what its comparisons show, all of them being counted."""
    comparisons = [c for _, level, over in found for c in (level, over) if c]
    adjusted = holm([c.p_value for c in comparisons])
    told = (Told(*each) for each in zip(comparisons, adjusted, effects(comparisons), strict=True))
    judged = []
    for change, level, over in found:
        change = replace(change, level=next(told) if level else None)
        judged.append(replace(change, over_default=next(told) if over else None))
    return judged


def _study(side: Side) -> dict[str, Any]:
    kept = (
        *("study", "objective", "engine", "engine_version", "simulated", "uncertainty"),
        *("hardware", "model", "workloads", "seed", "trials", "cost"),
    )
    return {
        "label": side.label,
        "folder": side.folder,
        "begun": side.begun,
        "state": side.state,
        **{name: side.summary[name] for name in kept},
    }


def _winner(side: Side, quadrant: Quadrant) -> dict[str, Any] | None:
    best, goal = side.best(quadrant), COMPARED_BY[quadrant]
    if best is None:
        return None
    return {
        **{name: best[name] for name in ("trial", "objective", "config", "sla", "goal", "gain")},
        "loads": {load: _without_probes(metrics) for load, metrics in best["loads"].items()},
        "confirmed": list(side.confirmed(quadrant, goal).values()),
    }


def _without_probes(metrics: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in metrics.items() if name != "probes"}
