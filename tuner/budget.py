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


def turns_s(records: Sequence[TrialRecord]) -> tuple[float, float]:
    """Engine seconds that a launch of the confirmation is expected to take, by the default's runs.

    Of the default, and of any finalist, whose launch may be as long as the longest so far.
    """
    default = default_of(records)
    if default is None:
        return 0.0, 0.0
    probes = len(default.loads.get("capacity", {}).get("probes", []))
    longest_s = max(record.launch_s for record in records)
    own, other = (
        expected_turn_s(launch_s, default.measured_s, probes)
        for launch_s in (default.launch_s, longest_s)
    )
    return own, other


def expected_turn_s(launch_s: float, measured_s: float, probes: int) -> float:
    """From a trial that was measured whole, with so many probes."""
    return launch_s + measured_s * min(1.0, RUNS_OF_A_TURN / (2 + probes))


def reserve_s(records: Sequence[TrialRecord], pairs: int) -> float:
    """Kept back for the default and one finalist."""
    return pairs * sum(turns_s(records))


def another_fits(
    records: Sequence[TrialRecord], budget_s: float, spent_s: float, pairs: int
) -> bool:
    """Whether one more trial, as long as the longest of the last few, leaves enough to confirm."""
    trials = list({r.number: r.engine_s for r in records if r.answered}.values())[-RECENT:]
    return spent_s + max(trials) + reserve_s(records, pairs) <= budget_s


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
    """As many of the arms, the default first, as the rest of the budget does for."""
    own_s, other_s = (pairs * each_s for each_s in turns_s(records))
    if left_s is None or other_s <= 0:
        return list(arms)
    return list(arms[: max(LEAST_ARMS, 1 + int((left_s - own_s) / other_s))])


def _minutes(seconds: float) -> int:
    return int(seconds // 60) + 1
