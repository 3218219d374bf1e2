import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.text.figures import duration, number, percent, quantity
from results.text.margins import margin


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("p95_ttft_ms<=500", {"share": None}, "p95 TTFT 212 of 500 ms (58 % to spare)"),
        (
            "p99.9_e2el_ms<=500",
            {"share": 0.99951},
            "p99.9 E2EL 212 of 500 ms (58 % to spare), within it >99.9 % of requests "
            "(99.9 % promised)",
        ),
        ("p95_ttft_ms<=500", {"value": None}, "p95 TTFT not measured, at most 500 ms"),
        ("mean_itl_ms<=500", {"value": 501, "share": None}, "mean ITL 501 of 500 ms (<1 % over)"),
        (
            "output_throughput>=500",
            {"value": 620, "share": None},
            "output throughput 620 for at least 500 tok/s (24 % to spare)",
        ),
        (
            "output_throughput>=500",
            {"value": 400, "share": None},
            "output throughput 400 for at least 500 tok/s (20 % short)",
        ),
        ("makespan_s<=500", {"share": None}, "makespan 212 of 500 s (58 % to spare)"),
    ],
)
def test_a_margin_says_what_is_left_of_the_promise(
    name: str, changes: dict[str, Any], said: str
) -> None:
    judgement = {"limit": 500.0, "value": 212.4, "share": 0.985, "verdict": "met", **changes}
    assert margin(name, judgement).replace("\N{NO-BREAK SPACE}", " ") == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (0.2071, "<1 s"),
        (59.7, "1 min"),
        (72.4, "1 min 12 s"),
        (3790, "1 h 3 min"),
        (200_000, "2 d 7 h"),
    ],
)
def test_a_duration_has_its_two_largest_units(seconds: float, said: str) -> None:
    assert duration(seconds).replace("\N{NO-BREAK SPACE}", " ") == said


@given(st.floats(min_value=1e-6, max_value=1e12))
def test_a_number_keeps_three_digits_and_needs_no_exponent(value: float) -> None:
    text = number(value)
    assert "e" not in text
    assert math.isclose(float(text), value, rel_tol=0.0051)


def test_nothing_and_almost_nothing_are_told_apart() -> None:
    said = [percent(share).replace("\N{NO-BREAK SPACE}", " ") for share in (0.0, 0.004, 0.254)]
    assert said == ["0 %", "<1 %", "25 %"]
    assert (percent(None), number(None), quantity("capacity", None)) == ("-", "-", "-")
