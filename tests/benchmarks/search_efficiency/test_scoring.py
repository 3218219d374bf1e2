from collections.abc import Mapping
from dataclasses import replace

import pytest

from benchmarks.search_efficiency.policies.policy import Step
from benchmarks.search_efficiency.scoring import (
    at_share,
    curve,
    feasible,
    hypervolume,
    reference,
    regret,
)
from benchmarks.search_efficiency.stand import Charge
from benchmarks.search_efficiency.surface import Settings, Surface, Truth
from search_spaces import Config

TRUTHS: Mapping[Settings, Truth] = {
    (1, 4): Truth(300.0, 60.0, feasible=True),
    (1, 8): Truth(600.0, 90.0, feasible=True),
    (1, 16): Truth(900.0, 200.0, feasible=False),
    (1, 32): Truth(1000.0, 100.0, feasible=True),
    (2, 4): Truth(200.0, 30.0, feasible=True),
    (2, 8): Truth(450.0, 45.0, feasible=True),
    (2, 16): Truth(500.0, 95.0, feasible=True),
    (2, 32): Truth(700.0, 300.0, feasible=False),
}
"""The default is (1, 32): the reference is at half its 1000 and 1.5 times its 100."""


@pytest.fixture
def known(tiny: Surface) -> Surface:
    return replace(tiny, truths=TRUTHS)


def config(size: int, seqs: int) -> Config:
    return {"tensor_parallel_size": size, "max_num_seqs": seqs}


def test_points_add_the_area_up_to_the_reference_that_no_other_has() -> None:
    # Latencies 60, 90, 100 below 150 ms; throughputs 300, 600, 1000 above 250.
    points = [(300.0, 60.0), (600.0, 90.0), (1000.0, 100.0)]
    by_hand = (300 - 250) * (150 - 60) + (600 - 300) * (150 - 90) + (1000 - 600) * (150 - 100)
    assert hypervolume(points, (250.0, 150.0)) == by_hand
    assert hypervolume([*points, (550.0, 95.0)], (250.0, 150.0)) == by_hand


@pytest.mark.parametrize("point", [(200.0, 10.0), (500.0, 150.0), (250.0, 149.0)])
def test_a_point_no_better_than_the_reference_adds_nothing(point: tuple[float, float]) -> None:
    assert hypervolume([point], (250.0, 150.0)) == 0.0


def test_the_reference_is_half_the_throughput_and_half_as_much_more_latency(
    known: Surface,
) -> None:
    assert reference(known) == (500.0, 150.0)


def test_where_the_default_breaks_the_promise_the_reference_is_that_of_the_worst_that_keep_it(
    known: Surface,
) -> None:
    broken = Truth(10_000.0, 1000.0, feasible=False)
    changed = replace(known, truths={**TRUTHS, (1, 32): broken})
    assert reference(changed) == (0.5 * 200, 1.5 * 95)


@pytest.mark.parametrize(
    ("tried", "expected"),
    [
        (config(1, 32), 0.0),
        (config(1, 8), 1 - 600 / 1000),
        (config(1, 9), 1 - 600 / 1000),
        (config(1, 16), 1.0),
        (None, 1.0),
    ],
    ids=["best", "worse", "served as its neighbour", "breaks the promise", "nothing"],
)
def test_regret_is_the_share_of_throughput_forgone(
    known: Surface, tried: Config | None, expected: float
) -> None:
    assert regret(known, tried) == expected


def test_regret_of_latency_is_the_share_by_which_it_exceeds_the_least(known: Surface) -> None:
    assert regret(replace(known, goal="latency"), config(2, 8)) == 1 - 30 / 45


def test_what_cannot_be_told_from_the_best_is_not_regretted(known: Surface) -> None:
    alike = replace(TRUTHS[1, 8], as_good=True)
    assert regret(replace(known, truths={**TRUTHS, (1, 8): alike}), config(1, 8)) == 0.0


def test_a_curve_is_paid_for_step_by_step_and_ends_with_the_budget(known: Surface) -> None:
    steps = [
        Step(Charge(config(1, 8), launches=1, other_s=50.0), None),
        Step(Charge(config(1, 16), launches=0, other_s=40.0), config(1, 8)),
        Step(Charge(config(2, 4), launches=1, other_s=0.0, failed=True), config(1, 8)),
        Step(Charge(config(1, 32), launches=1, other_s=30.0), config(1, 32)),
        Step(Charge(config(2, 8), launches=1, other_s=1000.0), config(1, 32)),
    ]
    whole = (600 - 500) * (150 - 90) + (1000 - 600) * (150 - 100)
    assert hypervolume(feasible(TRUTHS.values()), reference(known)) == whole
    found = curve(known, steps, lambda config: 100.0, 600.0)
    assert found.spent_s == [150.0, 190.0, 290.0, 420.0]
    assert found.regret == [1.0, 0.4, 0.4, 0.0]
    one = round((600 - 500) * (150 - 90) / whole, 6)
    assert found.hypervolume == [one, one, one, 1.0]
    assert (found.launches, found.launching_s) == (3, 300.0)


@pytest.mark.parametrize(("until_s", "expected"), [(9.0, None), (10.0, 0.5), (29.0, 0.3)])
def test_a_share_of_the_budget_sees_what_was_over_by_then(
    until_s: float, expected: float | None
) -> None:
    assert at_share([0.5, 0.3, 0.1], [10.0, 20.0, 30.0], until_s) == expected
