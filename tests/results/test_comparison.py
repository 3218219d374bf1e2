import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from results.comparison import Comparison, Effect, claimed, effects, holm, paired, welch

ratios = st.lists(st.floats(1e-3, 1e3), min_size=2, max_size=12)
p_values = st.lists(st.floats(0, 1), min_size=1, max_size=6)


def comparison(low: float, high: float, p_value: float) -> Comparison:
    return Comparison(ratio=math.sqrt(low * high), low=low, high=high, p_value=p_value, pairs=5)


def test_a_comparison_is_students_t_on_the_logarithms() -> None:
    # Logs 1 and 3: mean 2, sd sqrt 2, standard error 1, t 2 on one degree of freedom.
    found = paired([math.e, math.e**3])
    half_width = math.tan(0.95 * math.pi / 2)
    assert found.ratio == pytest.approx(math.exp(2))
    assert found.low == pytest.approx(math.exp(2 - half_width))
    assert found.high == pytest.approx(math.exp(2 + half_width))
    assert found.p_value == pytest.approx(1 - 2 * math.atan(2) / math.pi)
    assert found.pairs == 2


def test_five_pairs_have_the_interval_of_the_printed_table() -> None:
    # Logs -0.02 0 0.02 0.04 0.06: mean 0.02, standard error 0.02 / sqrt 2, t 2.776445 at 4.
    found = paired([math.exp(log / 100) for log in (-2, 0, 2, 4, 6)])
    assert math.log(found.low) == pytest.approx(0.02 - 2.776445 * 0.01414214, abs=1e-6)
    assert math.log(found.high) == pytest.approx(0.02 + 2.776445 * 0.01414214, abs=1e-6)


@given(ratios.filter(lambda given: len(set(given)) > 1))
def test_the_p_value_is_that_of_scipys_t_test(given: list[float]) -> None:
    expected = stats.ttest_1samp([math.log(ratio) for ratio in given], 0.0).pvalue
    assert paired(given).p_value == pytest.approx(expected, rel=1e-6, abs=1e-9)


@given(ratios)
def test_the_ratio_lies_within_its_interval(given: list[float]) -> None:
    found = paired(given)
    assert found.low <= found.ratio <= found.high


@given(ratios)
def test_inverse_ratios_have_the_inverse_interval(given: list[float]) -> None:
    found, inverse = paired(given), paired([1 / ratio for ratio in given])
    assert inverse.p_value == pytest.approx(found.p_value, rel=1e-6, abs=1e-9)
    for there, back in ((found.low, inverse.high), (found.high, inverse.low)):
        assert math.log(there) == pytest.approx(-math.log(back), rel=1e-9, abs=1e-9)


@given(st.floats(0, 1, exclude_min=True), st.floats(1, 1e3), st.integers(2, 9))
def test_the_interval_excludes_1_just_when_p_is_below_5_percent(
    spread: float, ratio: float, count: int
) -> None:
    found = paired([ratio * math.exp(spread * number) for number in range(-count, count + 1)])
    assert (found.low > 1) == (found.p_value < 0.05)


def test_pairs_that_all_agree_leave_no_doubt() -> None:
    assert paired([1.0] * 5) == Comparison(1.0, 1.0, 1.0, 1.0, 5)
    assert paired([1.1] * 5) == Comparison(1.1, 1.1, 1.1, 0.0, 5)
    assert paired([0.9] * 2) == Comparison(0.9, 0.9, 0.9, 0.0, 2)


def test_ratios_that_contradict_each_other_wildly_still_have_a_finite_interval() -> None:
    found = paired([1e-300, 1e300])
    assert (found.low, math.isfinite(found.high)) == (0.0, True)


@pytest.mark.parametrize("ratio", [0.0, -1.0, math.inf, math.nan])
def test_a_ratio_that_is_not_finite_and_positive_is_refused(ratio: float) -> None:
    with pytest.raises(ValueError, match=f"finite and positive, but got {ratio}"):
        paired([1.0, ratio])


def test_one_pair_is_no_comparison() -> None:
    with pytest.raises(ValueError, match="at least two pairs of runs, but got 1"):
        paired([1.1])


def test_holm_multiplies_the_smallest_by_all_and_each_next_by_one_less() -> None:
    assert holm([0.04, 0.01, 0.03, 0.005]) == pytest.approx([0.06, 0.03, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([0.03]) == [0.03]
    assert holm([]) == []


@given(p_values)
def test_holm_keeps_the_order_and_never_makes_anything_surer(given: list[float]) -> None:
    adjusted = holm(given)
    rising = sorted(zip(given, adjusted, strict=True))
    assert [p for _, p in rising] == sorted(adjusted)
    assert all(raw <= p <= 1 for raw, p in rising)


@given(p_values)
def test_holm_is_bonferroni_for_the_smallest(given: list[float]) -> None:
    assert min(holm(given)) == min(1.0, len(given) * min(given))


def test_what_holds_alone_may_not_hold_among_four() -> None:
    gain = comparison(1.01, 1.2, 0.03)
    nothing = comparison(0.8, 1.2, 0.9)
    assert claimed([gain]) == [True]
    assert claimed([gain, nothing, nothing, nothing]) == [False] * 4


def test_a_loss_is_told_apart_from_nothing_and_never_claimed() -> None:
    told = [comparison(1.1, 1.3, 0.001), comparison(0.7, 0.9, 0.002), comparison(0.9, 1.1, 0.8)]
    assert effects(told) == [Effect.BETTER, Effect.WORSE, Effect.NOT_SHOWN]
    assert claimed(told) == [True, False, False]


def test_identical_runs_show_nothing() -> None:
    assert effects([paired([1.0, 1.0])]) == [Effect.NOT_SHOWN]


spreads = st.lists(st.floats(1e-3, 1e3), min_size=2, max_size=9)


def test_unpaired_runs_are_compared_by_welchs_t() -> None:
    # Logs 0 and 2 against 3 and 5: difference 3, each squared error 1, two degrees of freedom.
    found = welch([1.0, math.e**2], [math.e**3, math.e**5])
    half_width = 4.302653 * math.sqrt(2)
    assert math.log(found.ratio) == pytest.approx(3.0)
    assert math.log(found.low) == pytest.approx(3.0 - half_width, rel=1e-6)
    assert math.log(found.high) == pytest.approx(3.0 + half_width, rel=1e-6)
    assert found.pairs == 2


@given(spreads, spreads)
def test_welchs_test_is_scipys_or_a_little_more_careful(
    before: list[float], after: list[float]
) -> None:
    logs = [[math.log(figure) for figure in side] for side in (before, after)]
    if any(max(side) - min(side) < 1e-6 for side in logs):
        return  # what rounding leaves of a spread is not the same here and there
    expected = stats.ttest_ind(logs[1], logs[0], equal_var=False)
    found = welch(before, after)
    low, high = expected.confidence_interval(0.95)
    assert found.p_value >= expected.pvalue - 1e-9
    assert math.log(found.low) <= low + 1e-9
    assert math.log(found.high) >= high - 1e-9


@given(spreads, spreads)
def test_welchs_interval_the_other_way_is_the_inverse(
    before: list[float], after: list[float]
) -> None:
    found, inverse = welch(before, after), welch(after, before)
    assert inverse.p_value == pytest.approx(found.p_value, rel=1e-6, abs=1e-9)
    assert math.log(found.low) == pytest.approx(-math.log(inverse.high), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(("after", "p_value"), [(2.0, 1.0), (4.0, 0.0)])
def test_runs_without_any_spread_differ_or_do_not(after: float, p_value: float) -> None:
    found = welch([2.0] * 5, [after] * 3)
    assert (found.low, found.ratio, found.high) == pytest.approx((after / 2,) * 3)
    assert (found.p_value, found.pairs) == (p_value, 3)


@pytest.mark.parametrize("after", [[1.0], [], [1.0, 0.0], [1.0, math.inf]])
def test_too_few_or_impossible_runs_are_refused(after: list[float]) -> None:
    with pytest.raises(ValueError, match=r"at least two runs|finite and positive"):
        welch([1.0, 2.0], after)
