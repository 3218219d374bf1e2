import math
import random
from statistics import fmean, quantiles, stdev

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from objectives.statistics import (
    mean_interval,
    percentile,
    percentile_interval,
    requests_needed,
    share_interval,
)

outcomes = st.lists(st.booleans(), min_size=1, max_size=60)


latencies = st.lists(st.floats(0, 1e6) | st.just(math.inf), min_size=1, max_size=60)


def drawn(count: int) -> list[float]:
    rng = random.Random(0)
    return [rng.lognormvariate(0, 0.5) for _ in range(count)]


def width(hits: list[bool]) -> float:
    low, high = share_interval(hits)
    return high - low


@pytest.mark.parametrize(
    ("ordered", "share", "value"),
    [
        ([7.0], 0.0, 7.0),
        ([7.0], 0.99, 7.0),
        ([1.0, 2.0], 0.5, 1.5),
        ([1.0, 2.0, 3.0, 4.0], 0.0, 1.0),
        ([1.0, 2.0, 3.0, 4.0], 0.25, 1.75),
        ([1.0, 2.0, 3.0, 4.0], 1.0, 4.0),
        ([10.0, 20.0, 30.0, 40.0, 50.0], 0.9, 46.0),
        ([0.0, 0.0, 100.0], 0.75, 50.0),
        ([1.0, 2.0, math.inf], 0.5, 2.0),
        ([1.0, 2.0, math.inf], 0.6, math.inf),
        ([1.0, math.inf, math.inf], 0.75, math.inf),
    ],
)
def test_a_percentile_is_numpys_default(ordered: list[float], share: float, value: float) -> None:
    assert percentile(ordered, share) == pytest.approx(value, rel=1e-12)


@given(
    st.lists(st.floats(0, 1e6), min_size=2, max_size=50).map(sorted),
    st.integers(1, 99),
)
def test_a_percentile_is_the_standard_librarys_inclusive_quantile(
    ordered: list[float], percent: int
) -> None:
    expected = quantiles(ordered, n=100, method="inclusive")[percent - 1]
    assert percentile(ordered, percent / 100) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_a_percentile_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="A percentile needs at least one observation"):
        percentile([], 0.5)


def test_a_share_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="A share needs at least one observation"):
        share_interval([])


@given(outcomes)
def test_the_interval_is_the_same_every_time(hits: list[bool]) -> None:
    assert share_interval(hits) == share_interval(hits)


@given(outcomes)
@example([True, True, False, True, True])
@example([False] + [True] * 39)
@example([False] * 5 + [True] * 590 + [False] * 5)
def test_the_interval_contains_the_share(hits: list[bool]) -> None:
    low, high = share_interval(hits)
    share = sum(hits) / len(hits)
    assert 0 <= low <= share + 1e-12
    assert share - 1e-12 <= high <= 1


@given(st.integers(1, 200))
def test_unanimous_outcomes_leave_no_doubt(count: int) -> None:
    assert share_interval([True] * count) == (1.0, 1.0)
    assert share_interval([False] * count) == (0.0, 0.0)


def test_more_requests_narrow_the_interval() -> None:
    rng = random.Random(0)
    hits = [rng.random() < 0.9 for _ in range(3000)]
    widths = [width(hits[:count]) for count in (50, 200, 800, 3000)]
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] < widths[0] / 4


def test_misses_in_a_row_say_less_than_misses_far_apart() -> None:
    in_a_row = [True] * 270 + [False] * 30 + [True] * 300
    far_apart = ([True] * 19 + [False]) * 30
    assert width(in_a_row) > 2 * width(far_apart)


def test_where_in_the_run_the_misses_fall_matters_little() -> None:
    middle = [True] * 285 + [False] * 30 + [True] * 285
    end = [True] * 570 + [False] * 30
    assert share_interval(end) == pytest.approx(share_interval(middle), abs=0.01)


def test_more_confidence_widens_the_interval() -> None:
    rng = random.Random(0)
    hits = [rng.random() < 0.8 for _ in range(300)]
    narrow = share_interval(hits, confidence=0.5)
    wide = share_interval(hits, confidence=0.99)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


@given(st.integers(1, 9999).map(lambda parts: parts / 10_000))
def test_so_many_requests_without_a_miss_and_no_fewer_bear_out_a_share(share: float) -> None:
    # The chance of no miss among n where one in 1 - share misses is share**n.
    needed = requests_needed(share)
    assert share**needed <= 0.05 * (1 + 1e-9)
    assert share ** (needed - 1) > 0.05 * (1 - 1e-9)


def test_more_confidence_takes_more_requests() -> None:
    assert [requests_needed(0.95, confidence=c) for c in (0.9, 0.95, 0.99)] == [45, 59, 90]


@pytest.mark.parametrize("share", [-0.1, 0.0, 1.0, 1.1])
def test_no_number_of_requests_bears_out_all_of_them(share: float) -> None:
    with pytest.raises(ValueError, match=r"^`0 < share < 1` must hold, but got "):
        requests_needed(share)


@given(latencies, st.sampled_from([0.5, 0.95, 0.99]))
@example([1.0, math.inf], 0.5)
@example([5.0] * 30, 0.95)
def test_the_interval_of_a_percentile_contains_it(values: list[float], share: float) -> None:
    low, high = percentile_interval(values, share)
    assert low <= percentile(sorted(values), share) <= high


@given(latencies)
def test_the_interval_of_a_percentile_scales_with_the_unit(values: list[float]) -> None:
    low, high = percentile_interval(values, 0.95)
    in_units = percentile_interval([1024 * value for value in values], 0.95)
    assert in_units == (1024 * low, 1024 * high)


def test_a_percentile_that_unfinished_requests_reach_has_no_upper_end() -> None:
    unfinished = [math.inf] * 29
    low, high = percentile_interval([*drawn(571), *unfinished], 0.95)
    assert math.isfinite(low)
    assert high == math.inf
    assert percentile_interval([*drawn(300), *unfinished * 10], 0.95) == (math.inf, math.inf)
    assert math.isfinite(percentile_interval([*drawn(571), math.inf], 0.95)[1])


def test_slow_requests_in_a_row_say_less_than_slow_ones_far_apart() -> None:
    ordered = sorted(drawn(600))
    apart = [ordered[number * 7 % 600] for number in range(600)]
    in_a_row = percentile_interval(ordered, 0.95)
    far_apart = percentile_interval(apart, 0.95)
    assert in_a_row[1] - in_a_row[0] > 2 * (far_apart[1] - far_apart[0])


def test_an_interval_of_a_percentile_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one observation"):
        percentile_interval([], 0.95)


def test_the_interval_of_a_mean_is_students_t_on_the_means_of_batches() -> None:
    # Four batches of two: means 1, 2, 3, 6; their mean 3, sd sqrt(14/3), t 3.1824 at 3.
    low, high = mean_interval([0, 2, 1, 3, 2, 4, 5, 7], batches=4)
    margin = 3.1824 * math.sqrt(14 / 3) / 2
    assert (low, high) == pytest.approx((3 - margin, 3 + margin), abs=1e-4)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=100))
def test_the_interval_of_a_mean_is_centred_on_it(values: list[float]) -> None:
    low, high = mean_interval(values)
    assert low <= high
    assert (low + high) / 2 == pytest.approx(fmean(values), abs=1e-6)


def test_fewer_values_than_batches_are_batches_of_one() -> None:
    low, high = mean_interval([1.0, 2.0, 4.0])
    margin = 4.302653 * stdev([1.0, 2.0, 4.0]) / math.sqrt(3)
    assert (low, high) == pytest.approx((7 / 3 - margin, 7 / 3 + margin))


def test_a_request_that_never_completed_makes_a_mean_infinite() -> None:
    assert mean_interval([1.0, math.inf, 2.0]) == (math.inf, math.inf)


@pytest.mark.parametrize(("values", "batches"), [([], 20), ([1.0], 20), ([1.0, 2.0], 1)])
def test_one_batch_says_nothing_of_a_mean(values: list[float], batches: int) -> None:
    with pytest.raises(ValueError, match="at least two batches, but got"):
        mean_interval(values, batches=batches)
