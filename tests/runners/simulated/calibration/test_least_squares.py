import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from runners.simulated.calibration.least_squares import nonnegative, settle

NUMBERS = st.floats(-10, 10, width=16)


@given(arrays(float, (8, 4), elements=NUMBERS), arrays(float, 8, elements=NUMBERS))
def test_no_coefficient_that_may_rise_would_make_the_squares_less(
    columns: np.ndarray, values: np.ndarray
) -> None:
    """The Karush-Kuhn-Tucker conditions of least squares over coefficients of at least 0."""
    found = nonnegative(columns, values)
    slopes = columns.T @ (columns @ found - values)
    scale = 1e-6 * max(1.0, float(np.abs(columns).max()) ** 2, float(np.abs(values).max()) ** 2)
    assert (found >= 0).all()
    assert (slopes >= -1e3 * scale).all()
    assert float(np.abs(slopes * found).max()) <= 1e4 * scale * max(1.0, float(found.max()))


def test_without_residuals_that_pull_the_prior_stays() -> None:
    mean, covariance = np.array([1.0, 2.0]), np.diag([0.04, 0.09])
    found = settle(
        lambda place: np.zeros(3),
        mean,
        covariance,
        least=np.full(2, -np.inf),
        steps=np.full(2, 0.1),
    )
    assert found.mean.tolist() == mean.tolist()
    assert np.allclose(found.covariance, covariance)


def test_a_line_is_found_as_its_closed_form_says() -> None:
    observed, sd = 3.0, 0.5
    found = settle(
        lambda place: (observed - place) / sd,
        np.array([2.0]),
        np.array([[1.0]]),
        least=np.array([-9.0]),
        steps=np.array([1e-3]),
    )
    weight = (1 / sd**2) / (1 / sd**2 + 1)
    assert np.isclose(found.mean[0], 2 + weight * (observed - 2), atol=0.15)
    assert found.covariance[0, 0] < 0.5
