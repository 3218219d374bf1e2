"""What leaving a setting out would cost, from trials that were measured."""

from collections.abc import Sequence

from objectives import Goal, Quadrant
from results.record import TrialRecord
from search_spaces import SearchSpace

UNKNOWN = "not measured"


def cost_of_dropping(
    knob: str,
    best: TrialRecord,
    records: Sequence[TrialRecord],
    space: SearchSpace,
    quadrant: Quadrant,
) -> str:
    """The winner's goal beside that of the nearest trial with the knob at its default."""
    default = space.knob(knob).default
    goal = _measured_goal(best, quadrant)
    known = [
        r
        for r in records
        if r.objective == best.objective
        and r.answered
        and r.failure is None
        and r.config[knob] == default
    ]
    if goal is None or not known:
        return UNKNOWN
    nearest = min(known, key=lambda r: (len(_others(r, best, knob)), r.number))
    value, without = best.metric(goal.load, goal.metric), nearest.metric(goal.load, goal.metric)
    if value is None or without is None:
        return UNKNOWN
    return (
        f"{goal.metric} {without:.4g} instead of {value:.4g}{_change(value, without)}"
        f"{'' if nearest.serves(quadrant) else ', and the SLA broken'} "
        f"(trial {nearest.number}, {_how_near(_others(nearest, best, knob))})"
    )


def _measured_goal(best: TrialRecord, quadrant: Quadrant) -> Goal | None:
    found = [g for g in quadrant.goals if best.metric(g.load, g.metric) is not None]
    return found[0] if found else None


def _others(record: TrialRecord, best: TrialRecord, knob: str) -> list[str]:
    """The knobs besides this one in which two trials differ."""
    return [n for n, value in best.config.items() if n != knob and record.config[n] != value]


def _change(value: float, without: float) -> str:
    return f" ({without / value - 1:+.0%})" if value else ""


def _how_near(others: list[str]) -> str:
    return f"which differs in {', '.join(others)}, too" if others else "otherwise the same"
