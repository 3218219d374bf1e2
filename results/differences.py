"""Which knobs made no difference, judged only by pairs of trials that differ in nothing else."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations

from objectives import Goal
from results.record import TrialRecord
from results.ties import Ties
from search_spaces import SearchSpace


def unused_knobs(
    records: Sequence[TrialRecord], space: SearchSpace, goals: Sequence[Goal], ties: Ties
) -> list[str]:
    """Searched knobs that were turned alone at least once, and never with any effect.

    An effect is a config that can no longer be served, a changed SLA verdict or a value told
    apart. A knob never turned alone is not named: nothing is known of it.
    """
    answered = [r for r in records if r.answered and not r.stopped_early]
    unused = []
    for name in space.searched:
        effects = [differ(a, b, goals, ties) for a, b in turned_alone(answered, space, name)]
        if effects and not any(effects):
            unused.append(name)
    return unused


def turned_alone(
    records: Sequence[TrialRecord], space: SearchSpace, name: str
) -> Iterator[tuple[TrialRecord, TrialRecord]]:
    """Pairs on the same traffic, at least one of them measured, that differ in this knob only."""
    alike: dict[tuple[object, ...], list[TrialRecord]] = defaultdict(list)
    for record in records:
        others = (record.config[other] for other in space.searched if other != name)
        alike[record.objective, *others].append(record)
    for group in alike.values():
        for a, b in combinations(group, 2):
            if a.config[name] != b.config[name] and (a.failure is None or b.failure is None):
                yield a, b


def differ(a: TrialRecord, b: TrialRecord, goals: Sequence[Goal], ties: Ties) -> bool:
    """Whether two records can be told apart by the verdict on any promise or by a goal."""
    if a.meets_sla != b.meets_sla or (a.failure is None) != (b.failure is None):
        return True
    if any(a.serves(quadrant) != b.serves(quadrant) for quadrant in a.quadrants):
        return True
    for goal in goals:
        x, y = (record.metric(goal.load, goal.metric) for record in (a, b))
        if (x is None) != (y is None) or (x is not None and not ties(a, b, goal)):
            return True
    return False
