from typing import Any

import pytest

from objectives.quadrant import FIRST_TOKEN
from results.record import TrialRecord
from results.ties import Ties, tied


def trial(ttft_ms: float | None, ends: list[float] | None = None) -> TrialRecord:
    found: dict[str, Any] = {"p95_ttft_ms": ttft_ms}
    if ends:
        found["intervals"] = {"p95_ttft_ms": ends}
    loads: Any = {"offered": found}
    return TrialRecord(number=0, objective="chat", config={}, origin="sampler", loads=loads)


@pytest.mark.parametrize(
    ("a", "b", "equal"),
    [(100.0, 99.0, True), (100.0, 98.9, False), (0.0, 0.0, True), (0.0, 0.1, False)],
)
def test_two_values_are_tied_within_a_share_of_the_larger(a: float, b: float, equal: bool) -> None:
    assert tied(a, b, 0.01) is tied(b, a, 0.01) is equal
    assert Ties(0.01)(trial(a), trial(b), FIRST_TOKEN) is equal


@pytest.mark.parametrize(
    ("a", "b", "equal"),
    [
        (trial(100.0, [90.0, 110.0]), trial(120.0, [110.0, 130.0]), True),
        (trial(120.0, [110.0, 130.0]), trial(100.0, [90.0, 110.0]), True),
        (trial(100.0, [90.0, 110.0]), trial(120.0, [111.0, 130.0]), False),
        (trial(100.0, [90.0, 110.0]), trial(105.0), False),
        (trial(100.0, [80.0, 300.0]), trial(200.0, [190.0, 210.0]), True),
    ],
    ids=["touch", "the other way", "apart", "one is exact", "within"],
)
def test_values_whose_intervals_overlap_are_tied(
    a: TrialRecord, b: TrialRecord, equal: bool
) -> None:
    assert Ties(0.01)(a, b, FIRST_TOKEN) is equal
    assert not Ties(0.01, intervals=False)(a, b, FIRST_TOKEN)


def test_what_was_not_measured_is_tied_with_nothing() -> None:
    assert not Ties(0.01)(trial(None), trial(None), FIRST_TOKEN)
    assert not Ties(0.01)(trial(100.0), trial(None), FIRST_TOKEN)
