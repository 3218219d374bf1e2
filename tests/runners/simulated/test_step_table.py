import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runners.simulated.step_table import LARGEST, by_number, never_falling

MANY = st.lists(st.floats(0.1, 100), min_size=1, max_size=30)


def waves(tokens: int) -> float:
    """A kernel of tiles of 256 tokens, each wave of them slower at its start than at its end."""
    return 10 * -(-tokens // 256) - 0.01 * (-tokens % 256) if tokens else 0.0


def test_a_table_has_the_jumps_of_its_kernels_where_they_are() -> None:
    table = by_number(waves)
    assert len(table) == LARGEST + 1
    found = [float(table[tokens]) for tokens in (512, 513, 600, 1024, 1025, 8192, 8193)]
    assert found == pytest.approx([waves(n) for n in (512, 513, 600, 1024, 1025, 8192, 8193)])


def test_what_is_straight_is_asked_for_no_more_than_every_64_tokens() -> None:
    asked: list[int] = []

    def straight(tokens: int) -> float:
        asked.append(tokens)
        return 1.0 + tokens / 1000

    table = by_number(straight)
    assert len(asked) == 513 + (LARGEST - 512) // 64
    assert table[5000] == pytest.approx(6.0)


def test_one_kernel_that_was_measured_slow_hardly_slows_larger_steps() -> None:
    table = by_number(lambda tokens: 30.0 if tokens == 1 else 15.0 + tokens / 1000)
    assert table[64] == pytest.approx(15.064, rel=0.01)


def test_values_that_fall_are_pooled_at_their_weighted_mean() -> None:
    found = never_falling(np.array([1.0, 4.0, 2.0, 6.0, 5.0]), np.array([1.0, 1.0, 3.0, 1.0, 1.0]))
    assert found.tolist() == [1.0, 2.5, 2.5, 5.5, 5.5]


@given(MANY)
def test_it_never_falls_and_keeps_the_mean(values: list[float]) -> None:
    found = never_falling(np.array(values), np.ones(len(values)))
    assert (np.diff(found) >= 0).all()
    assert found.mean() == pytest.approx(np.mean(values))


@given(MANY, st.floats(0.1, 100))
def test_slower_kernels_never_make_a_table_faster(values: list[float], more: float) -> None:
    slower = [*values]
    slower[len(values) // 2] += more
    one, other = (never_falling(np.array(v), np.ones(len(v))) for v in (values, slower))
    assert (other >= one - 1e-9).all()
