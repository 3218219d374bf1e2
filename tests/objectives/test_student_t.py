import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from objectives.student_t import central_share, quantile, two_sided_p

freedoms = st.integers(1, 300)


@pytest.mark.parametrize(
    ("freedom", "t"), [(1, 12.706), (2, 4.303), (4, 2.776), (7, 2.365), (19, 2.093), (599, 1.964)]
)
def test_the_quantile_is_that_of_the_printed_tables(freedom: int, t: float) -> None:
    assert quantile(0.95, freedom) == pytest.approx(t, abs=5e-4)


@given(st.floats(0.001, 0.9999), freedoms)
def test_the_quantile_is_scipys(confidence: float, freedom: int) -> None:
    expected = stats.t.ppf((1 + confidence) / 2, freedom)
    assert quantile(confidence, freedom) == pytest.approx(expected, rel=1e-9)


@given(st.floats(0, 1e6), freedoms)
def test_the_p_value_is_scipys(t: float, freedom: int) -> None:
    expected = 2 * stats.t.sf(t, freedom)
    assert two_sided_p(t, freedom) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(st.floats(0.001, 0.9999), freedoms)
def test_as_much_lies_within_the_quantile_as_was_asked_for(
    confidence: float, freedom: int
) -> None:
    assert central_share(quantile(confidence, freedom), freedom) == pytest.approx(confidence)


@pytest.mark.parametrize(("confidence", "freedom"), [(0.0, 4), (1.0, 4), (0.95, 0)])
def test_what_is_no_confidence_or_no_freedom_is_refused(confidence: float, freedom: int) -> None:
    with pytest.raises(ValueError, match=f"but got confidence={confidence}, freedom={freedom}"):
        quantile(confidence, freedom)
