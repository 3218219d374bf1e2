import pytest

from runners.base import EngineError, FailureKind
from runners.load.late import LateClient, in_time


def after(failures: int, error: EngineError) -> tuple[list[int], object]:
    """How often a load was sent, and what came of it."""
    sent: list[int] = []

    def measure() -> str:
        sent.append(len(sent))
        if len(sent) <= failures:
            raise error
        return "measured"

    try:
        return sent, in_time(measure)
    except EngineError as raised:
        return sent, raised


@pytest.mark.parametrize("failures", [0, 1, 2])
def test_a_load_for_which_the_client_was_late_is_sent_again(failures: int) -> None:
    sent, found = after(failures, LateClient("late"))
    assert (len(sent), found) == (failures + 1, "measured")


def test_after_three_times_it_is_the_machines_trouble() -> None:
    late = LateClient("late")
    sent, found = after(3, late)
    assert (len(sent), found) == (3, late)
    assert late.failure.kind is FailureKind.HOST


def test_no_other_failure_is_repeated() -> None:
    died = EngineError(FailureKind.DIED, "killed")
    assert after(1, died) == ([0], died)
