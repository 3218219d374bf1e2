"""Who wins each quadrant, by one pure function of the records.

A winner keeps the quadrant's SLA and is startable by the stock engine. Configs that cannot be told
apart from the best are tied; among them the one that departs least from the engine's defaults
wins, so a knob that does nothing keeps its default.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from objectives import Goal, Quadrant
from results.record import TrialRecord
from results.ties import Ties
from search_spaces import SearchSpace


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """By what the winners are chosen besides the goals."""

    space: SearchSpace
    ties: Ties
    allow_ours: bool = False
    """Whether a winner may need our scheduler class."""

    def finer(self, relative: float) -> "Selection":
        """The same, by the values alone, telling apart what differs by more than this."""
        return replace(self, ties=Ties(min(relative, self.ties.relative), intervals=False))


def winner(
    records: Sequence[TrialRecord], quadrant: Quadrant, selection: Selection
) -> TrialRecord | None:
    """The best record for the quadrant, or ``None``."""
    serving = [r for r in records if r.complete and r.serves(quadrant)]
    if not selection.allow_ours:
        serving = [r for r in serving if not selection.space.needs_ours(r.config)]
    best = _best(serving, quadrant.goals, selection)
    plain = [r for r in serving if r.origin == "default" or not selection.space.turned(r.config)]
    default = min(plain, key=lambda r: r.number, default=None)
    if best is None or default is None or default is best:
        return best
    if any(_has(best, goal) and not _has(default, goal) for goal in quadrant.goals):
        return best  # nothing says that the default does as well
    if gains(best, default, quadrant, selection.ties) is not False:
        return best
    # Tied with the best, and with a default that is not: what departs must gain by it.
    gaining = [r for r in serving if gains(r, default, quadrant, selection.ties)]
    return _best(gaining, quadrant.goals, selection) or default


def _has(record: TrialRecord, goal: Goal) -> bool:
    return record.metric(goal.load, goal.metric) is not None


def gains(a: TrialRecord, b: TrialRecord, quadrant: Quadrant, ties: Ties) -> bool | None:
    """Whether ``a`` is told apart from ``b`` as better; ``None`` where nothing compares them."""
    found = deciding_goal(a, b, quadrant, ties)
    ratio = None if found is None else ratio_of(a, b, found[0])
    return None if found is None or ratio is None else ratio > 1 and not ties(a, b, found[0])


def best_with_ours(
    records: Sequence[TrialRecord], quadrant: Quadrant, selection: Selection
) -> TrialRecord | None:
    """The best record that needs our scheduler class."""
    space = selection.space
    serving = [
        r for r in records if r.complete and r.serves(quadrant) and space.needs_ours(r.config)
    ]
    return _best(serving, quadrant.goals, selection)


def _best(
    pool: list[TrialRecord], goals: Sequence[Goal], selection: Selection
) -> TrialRecord | None:
    decided = False
    for goal in goals:
        valued = [(r, v) for r in pool if (v := r.metric(goal.load, goal.metric)) is not None]
        if not valued:
            continue
        decided = True
        pick = max if goal.direction == "maximize" else min
        top, _ = pick(valued, key=lambda pair: pair[1])
        pool = [r for r, _ in valued if selection.ties(r, top, goal)]
    if not decided:
        return None
    space = selection.space
    return min(pool, key=lambda r: (len(space.turned(r.config)), r.number), default=None)


def deciding_goal(
    a: TrialRecord, b: TrialRecord, quadrant: Quadrant, ties: Ties
) -> tuple[Goal, float, float] | None:
    """The first goal that tells two records apart, else the first both have, with the values."""
    both = [
        (goal, x, y)
        for goal in quadrant.goals
        if (x := a.metric(goal.load, goal.metric)) is not None
        and (y := b.metric(goal.load, goal.metric)) is not None
    ]
    apart = (found for found in both if not ties(a, b, found[0]))
    return next(apart, both[0] if both else None)


def better_by(a: TrialRecord, b: TrialRecord, quadrant: Quadrant, ties: Ties) -> float | None:
    """How many times better ``a`` is than ``b`` for the quadrant; above 1 is better."""
    found = deciding_goal(a, b, quadrant, ties)
    return None if found is None else ratio_of(a, b, found[0])


def ratio_of(a: TrialRecord, b: TrialRecord, goal: Goal) -> float | None:
    """How many times better ``a`` is by one goal; ``None`` where one of them has none."""
    x, y = (record.metric(goal.load, goal.metric) for record in (a, b))
    if x is None or y is None:
        return None
    good, bad = (x, y) if goal.direction == "maximize" else (y, x)
    if good == bad:
        return 1.0
    return good / bad if bad > 0 else None


def over_default(
    best: TrialRecord, default: TrialRecord | None, quadrant: Quadrant, ties: Ties
) -> tuple[Goal, float, float | None]:
    """(goal, the winner's value, how many times better than the default's) of a winner.

    Raises:
        ValueError: the winner has none of the quadrant's goals.
    """
    ratio = better_by(best, default, quadrant, ties) if default else None
    if default and ratio is not None and ratio < 1 and default.serves(quadrant):
        # Tied with the winner, but not with the best that the winner is tied with.
        ties = Ties(0.0, intervals=False)
        ratio = better_by(best, default, quadrant, ties)
    compared = deciding_goal(best, default, quadrant, ties) if default else None
    found = compared or deciding_goal(best, best, quadrant, ties)
    if found is None:
        raise ValueError(f"A winner has a goal of its quadrant, but that of {quadrant} has none.")
    return found[0], found[1], ratio


def regret(
    winners: Mapping[Quadrant, TrialRecord | None],
    served_by: Mapping[Quadrant, Sequence[TrialRecord]],
    ties: Ties,
    gains: Mapping[Quadrant, float] = MappingProxyType({}),
) -> dict[str, dict[str, float | None]]:
    """``[served][config_of]``: what it costs to serve one quadrant with another's config.

    1 - goal(config_of) / goal(best); 0 where they cannot be told apart, ``None`` where that config
    breaks the served quadrant's SLA or was not measured on its traffic.

    Args:
        gains: how many times better than the default config a winner was shown to be.
    """
    table: dict[str, dict[str, float | None]] = {}
    for served, best in winners.items():
        row: dict[str, float | None] = {}
        by_number = {record.number: record for record in served_by[served]}
        for config_of, other in winners.items():
            record = by_number.get(other.number) if other else None
            gain = gains.get(served) if record and record.origin == "default" else None
            row[config_of] = _regret(best, record, served, ties, gain)
        table[served] = row
    return table


def _regret(
    best: TrialRecord | None,
    record: TrialRecord | None,
    served: Quadrant,
    ties: Ties,
    gain: float | None,
) -> float | None:
    if best is None or record is None or not record.serves(served):
        return None
    if gain is not None:
        return max(0.0, 1 - 1 / gain)
    found = deciding_goal(record, best, served, ties)
    ratio = better_by(record, best, served, ties)
    if found is None or ratio is None:
        return None
    return 0.0 if ties(record, best, found[0]) else max(0.0, 1 - ratio)
