"""Which knobs made no difference, judged only by pairs of trials that differ in nothing else."""

from collections.abc import Sequence
from itertools import combinations

from objectives import Goal
from results.pareto import values
from results.quadrants import tied
from results.record import TrialRecord
from search_spaces import SearchSpace


def unused_knobs(
    records: Sequence[TrialRecord], space: SearchSpace, goals: Sequence[Goal], tie: float
) -> list[str]:
    """Searched knobs that were turned alone at least once, and never with any effect.

    An effect is a changed SLA verdict or a value told apart. A knob never turned alone is not
    named: nothing is known of it.
    """
    effect: dict[str, bool] = {}
    answered = [r for r in records if r.answered]
    for a, b in combinations(answered, 2):
        if a.objective != b.objective:
            continue
        turned = [name for name in space.searched if a.config[name] != b.config[name]]
        if len(turned) == 1:
            effect[turned[0]] = effect.get(turned[0], False) or differ(a, b, goals, tie)
    return [name for name in space.searched if effect.get(name) is False]


def differ(a: TrialRecord, b: TrialRecord, goals: Sequence[Goal], tie: float) -> bool:
    """Whether two records can be told apart by their SLA verdict or any of the goals."""
    if a.meets_sla != b.meets_sla or (a.failure is None) != (b.failure is None):
        return True
    mine, theirs = values(a, goals), values(b, goals)
    if mine is None or theirs is None:
        return (mine is None) != (theirs is None)
    return any(not tied(x, y, tie) for x, y in zip(mine, theirs, strict=True))
