from typing import Any

import pytest

from results.record import TrialRecord
from tuner.budget import (
    affordable,
    another_fits,
    default_of,
    refuse_too_small,
    reserve_s,
    turns_s,
)
from tuner.errors import BadInput


def trial(number: int, **changes: Any) -> TrialRecord:
    """Sixty seconds of launch and 300 under load: two runs and eight probes."""
    fields: dict[str, Any] = {
        "objective": "chat",
        "config": {},
        "origin": "default" if number == 0 else "sampler",
        "loads": {"offered": {}, "capacity": {"probes": [{}] * 8}},
        "engine_s": 400.0,
        "measured_s": 300.0,
        "launch_s": 60.0,
        "launch_id": number,
    }
    return TrialRecord(number=number, **{**fields, **changes})


FAILURE = {"kind": "died", "detail": "signal 9"}
ARMS = ["default", "trial 3", "trial 7", "mode"]


def test_a_turn_takes_a_launch_and_six_of_the_defaults_runs() -> None:
    turn_s = 60 + 300 * 6 / 10
    assert turns_s([trial(0), trial(1, launch_s=0.0)]) == (turn_s, turn_s)


def test_a_finalist_may_take_as_long_to_launch_as_the_longest_so_far() -> None:
    assert turns_s([trial(0), trial(1, launch_s=200.0)]) == (240.0, 380.0)


def test_a_turn_takes_no_longer_than_the_default_did() -> None:
    few = trial(0, loads={"offered": {}, "capacity": {"probes": [{}] * 3}})
    alone = trial(0, loads={"offered": {}})
    assert (turns_s([few])[0], turns_s([alone])[0]) == (360.0, 360.0)


@pytest.mark.parametrize(
    "default", [trial(0, failure=FAILURE), trial(0, origin="preset"), trial(0, launch_id=None)]
)
def test_without_a_default_nothing_can_be_confirmed_and_nothing_is_kept_back(
    default: TrialRecord,
) -> None:
    assert default_of([default, trial(1)]) is None
    assert (turns_s([default]), reserve_s([default], 5)) == ((0.0, 0.0), 0.0)


def test_what_is_kept_back_confirms_one_finalist() -> None:
    assert reserve_s([trial(0)], 5) == 2 * 5 * 240.0
    assert reserve_s([trial(0), trial(1, launch_s=200.0)], 5) == 5 * (240.0 + 380.0)
    assert reserve_s([trial(0)], 0) == 0.0


@pytest.mark.parametrize(("budget_s", "fits"), [(4100.0, True), (4099.0, False)])
def test_another_trial_fits_if_one_as_long_as_any_of_the_last_five_leaves_what_is_kept_back(
    budget_s: float, fits: bool
) -> None:
    # Twelve hundred were spent; the longest of the last five took 500.
    lasting = [800.0, 500.0, 300.0, 400.0, 400.0, 400.0]
    records = [trial(n, engine_s=engine_s) for n, engine_s in enumerate(lasting)]
    assert another_fits(records, budget_s, 1200.0, 5) is fits


def test_a_trial_on_several_kinds_of_traffic_is_counted_once() -> None:
    records = [trial(n, objective=name) for n in (0, 1) for name in ("rag", "chat")]
    records += [trial(2, engine_s=100.0, launch_id=None)]
    assert another_fits(records, 3200.0, 400.0, 5)
    assert not another_fits(records, 3199.0, 400.0, 5)


def test_a_budget_that_does_not_do_for_the_default_and_its_confirmation_is_refused() -> None:
    with pytest.raises(BadInput) as refused:
        refuse_too_small([trial(0)], 600.0, 400.0, 5)
    assert str(refused.value) == (
        "--budget must cover one trial and its confirmation, but 10 min does not: the default "
        "config took 6 min 40 s, and 5 pairs of launches would take 40 min; give at least 47m, "
        "or --pairs 0."
    )


@pytest.mark.parametrize(("budget_s", "pairs"), [(2800.0, 5), (1.0, 0)])
def test_a_budget_that_just_does_or_that_confirms_nothing_is_not_refused(
    budget_s: float, pairs: int
) -> None:
    refuse_too_small([trial(0)], budget_s, 400.0, pairs)


def test_the_budget_that_is_asked_for_is_enough() -> None:
    with pytest.raises(BadInput, match="at least 47m"):
        refuse_too_small([trial(0)], 600.0, 400.0, 5)
    refuse_too_small([trial(0)], 47 * 60.0, 400.0, 5)


@pytest.mark.parametrize(
    ("left_s", "arms"),
    [
        (None, ARMS),
        (4 * 1200.0, ARMS),
        (4 * 1200.0 - 1, ARMS[:3]),
        (2 * 1200.0, ARMS[:2]),
        (1.0, ARMS[:2]),
        (-500.0, ARMS[:2]),
    ],
)
def test_what_is_left_does_for_so_many_arms_but_never_for_fewer_than_two(
    left_s: float | None, arms: list[str]
) -> None:
    assert affordable(ARMS, 5, [trial(0)], left_s) == arms
    assert affordable(ARMS, 5, [trial(0, failure=FAILURE)], left_s) == ARMS


@pytest.mark.parametrize(("left_s", "arms"), [(1200 + 3 * 1900.0, 4), (1200 + 3 * 1900.0 - 1, 3)])
def test_finalists_may_take_longer_than_the_default(left_s: float, arms: int) -> None:
    records = [trial(0), trial(1, launch_s=200.0)]
    assert affordable(ARMS, 5, records, left_s) == ARMS[:arms]
