"""What a study's engine time is for: trials, and at its end confirming what they found."""

from collections.abc import Sequence
from typing import TypeVar

from results.record import TrialRecord
from tuner.duration import words
from tuner.errors import BadInput

RUNS_OF_A_TURN = 6
"""Of one arm in one pair: the offered load, all at once, and about four probes."""
LEAST_ARMS = 2
"""The default config and one finalist."""
RECENT = 5
Arm = TypeVar("Arm")


def default_of(records: Sequence[TrialRecord]) -> TrialRecord | None:
    """The record that finalists are compared with."""
    return next((r for r in records if r.origin == "default" and r.complete), None)


def turn_s(records: Sequence[TrialRecord]) -> float:
    """Engine seconds that one launch of the confirmation is expected to take, by the default's."""
    default = default_of(records)
    if default is None:
        return 0.0
    probes = len(default.loads.get("capacity", {}).get("probes", []))
    return expected_turn_s(default.launch_s, default.measured_s, probes)


def expected_turn_s(launch_s: float, measured_s: float, probes: int) -> float:
    """From a trial that was measured whole, with so many probes."""
    return launch_s + measured_s * min(1.0, RUNS_OF_A_TURN / (2 + probes))


def reserve_s(records: Sequence[TrialRecord], pairs: int) -> float:
    """Kept back for the default and one finalist."""
    return LEAST_ARMS * pairs * turn_s(records)


def another_fits(
    records: Sequence[TrialRecord], budget_s: float, spent_s: float, pairs: int
) -> bool:
    """Whether one more trial, as long as the last few, leaves enough to confirm."""
    trials = list({r.number: r.engine_s for r in records if r.answered}.values())[-RECENT:]
    expected_s = sum(trials) / len(trials)
    return spent_s + expected_s + reserve_s(records, pairs) <= budget_s


def refuse_too_small(
    records: Sequence[TrialRecord], budget_s: float, spent_s: float, pairs: int
) -> None:
    """
    Raises:
        BadInput: the budget does not even do for the default config and its confirmation.
    """
    least_s = spent_s + reserve_s(records, pairs)
    if pairs and least_s > budget_s:
        raise BadInput(
            f"--budget must cover one trial and its confirmation, but {words(budget_s)} does not: "
            f"the default config took {words(spent_s)}, and {pairs} pairs of launches would take "
            f"{words(least_s - spent_s)}; give at least {_minutes(least_s)}m, or --pairs 0."
        )


def affordable(
    arms: Sequence[Arm], pairs: int, records: Sequence[TrialRecord], left_s: float | None
) -> list[Arm]:
    """As many of the arms, in their order, as the rest of the budget does for."""
    each_s = pairs * turn_s(records)
    if left_s is None or each_s <= 0:
        return list(arms)
    return list(arms[: max(LEAST_ARMS, int(left_s / each_s))])


def _minutes(seconds: float) -> int:
    return int(seconds // 60) + 1
