"""Which trials are worth a second look."""

from collections.abc import Sequence

from objectives import Goal
from results.record import TrialRecord


def values(record: TrialRecord, goals: Sequence[Goal]) -> tuple[float, ...] | None:
    """The record's value of each goal; ``None`` when one was not measured."""
    found = [record.metric(goal.load, goal.metric) for goal in goals]
    return None if None in found else tuple(value for value in found if value is not None)


def dominates(a: Sequence[float], b: Sequence[float], goals: Sequence[Goal]) -> bool:
    """Whether ``a`` is at least as good as ``b`` everywhere and better somewhere."""
    signs = [1 if goal.direction == "minimize" else -1 for goal in goals]
    pairs = [(sign * x, sign * y) for sign, x, y in zip(signs, a, b, strict=True)]
    return all(x <= y for x, y in pairs) and any(x < y for x, y in pairs)


def front(records: Sequence[TrialRecord], goals: Sequence[Goal]) -> list[TrialRecord]:
    """Those that meet their SLA and that no other such record dominates, in order of number."""
    valued = [
        (r, v)
        for r in records
        if r.complete and r.meets_sla and (v := values(r, goals)) is not None
    ]
    best = [r for r, v in valued if not any(dominates(other, v, goals) for _, other in valued)]
    return sorted(best, key=lambda record: record.number)
