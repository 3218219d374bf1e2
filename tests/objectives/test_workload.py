import math
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objectives import Load, Request, Workload

THREE = Workload(
    name="three",
    requests=(Request(2.0, 100, 10), Request(3.0, 300, 20), Request(6.0, 200, 60)),
    source="by hand",
)

gaps = st.lists(st.floats(min_value=0.0, max_value=1e3), min_size=1, max_size=40).filter(
    lambda gaps: sum(gaps) > 1e-3
)
rates = st.floats(min_value=1e-3, max_value=1e4)


def spaced(gaps: list[float]) -> Workload:
    """Requests that differ in their lengths, ``gaps`` apart from a start at 5 s."""
    times = [5.0]
    for gap in gaps:
        times.append(times[-1] + gap)
    requests = (Request(time, 1 + i, 100 + i) for i, time in enumerate(times))
    return Workload(name="spaced", requests=tuple(requests))


def lengths(workload: Workload) -> list[tuple[int, int]]:
    return [(r.input_tokens, r.output_tokens) for r in workload.requests]


def times(workload: Workload) -> list[float]:
    return [r.arrival_s for r in workload.requests]


def test_a_workload_knows_its_span_its_rate_and_its_longest_request() -> None:
    assert (
        THREE.span_s,
        THREE.request_rate,
        THREE.longest_tokens,
        THREE.mean_output_tokens,
    ) == (4.0, 0.5, 320, 30.0)


def test_requests_that_all_arrive_at_once_have_an_infinite_rate() -> None:
    assert Workload(name="burst", requests=(Request(1.0, 1, 1),) * 3).request_rate == math.inf


@given(gaps, rates)
def test_another_rate_keeps_order_and_lengths_and_is_hit(gaps: list[float], rate: float) -> None:
    workload = spaced(gaps)
    moved = workload.at_rate(rate)
    assert lengths(moved) == lengths(workload)
    assert times(moved) == sorted(times(moved))
    assert moved.requests[0].arrival_s == 0.0
    assert moved.request_rate == pytest.approx(rate, rel=1e-9)


@given(gaps, rates)
def test_another_rate_stretches_every_gap_alike(gaps: list[float], rate: float) -> None:
    workload = spaced(gaps)
    moved = workload.at_rate(rate)
    factor = workload.request_rate / rate
    stretched = [(time - 5.0) * factor for time in times(workload)]
    assert times(moved) == pytest.approx(stretched, rel=1e-9)


def test_an_infinite_rate_sends_everything_at_once() -> None:
    assert times(THREE.at_rate(math.inf)) == [0.0, 0.0, 0.0]


def test_requests_that_all_arrive_at_once_are_spread_evenly_to_hit_a_rate() -> None:
    assert times(THREE.at_rate(math.inf).at_rate(4.0)) == [0.0, 0.25, 0.5]


def test_a_rate_opens_a_closed_loop() -> None:
    assert THREE.at_concurrency(8).at_rate(0.5) == THREE.at_rate(0.5)


def test_a_closed_loop_keeps_the_requests() -> None:
    closed = THREE.at_concurrency(8)
    assert (closed.requests, closed.concurrency) == (THREE.requests, 8)


@pytest.mark.parametrize("rate", [0.0, -1.0, math.nan])
def test_a_rate_must_be_above_zero(rate: float) -> None:
    with pytest.raises(ValueError, match=r"`request_rate > 0` must hold, but got "):
        THREE.at_rate(rate)


def test_a_closed_loop_needs_a_request_in_flight() -> None:
    with pytest.raises(ValueError, match=r"`concurrency >= 1` must hold, but got 0\."):
        THREE.at_concurrency(0)


def test_a_workload_needs_a_request() -> None:
    with pytest.raises(ValueError, match="'none' holds no request"):
        Workload(name="none", requests=())


def test_arrivals_cannot_run_backwards() -> None:
    with pytest.raises(ValueError, match="'late' has arrival times that run backwards"):
        Workload(name="late", requests=(Request(1.0, 1, 1), Request(0.5, 1, 1)))


@pytest.mark.parametrize("arrival_s", [-1.0, math.inf, math.nan])
def test_a_request_arrives_at_a_time(arrival_s: float) -> None:
    with pytest.raises(ValueError, match=r"`arrival_s >= 0` must hold, but got "):
        Request(arrival_s, 1, 1)


@pytest.mark.parametrize(("input_tokens", "output_tokens"), [(0, 1), (1, 0), (-5, 1)])
def test_a_request_asks_and_answers_at_least_one_token(
    input_tokens: int, output_tokens: int
) -> None:
    with pytest.raises(ValueError, match=f"but got {input_tokens} and {output_tokens}"):
        Request(0.0, input_tokens, output_tokens)


def test_a_load_waits_for_every_answer_unless_told_otherwise() -> None:
    assert Load(workload=THREE).patience_s == math.inf


def cyclic_gaps(workload: Workload, period_s: float) -> list[float]:
    """Before each request, that before the first being what is left of the period."""
    found = times(workload)
    return [found[0] + period_s - found[-1], *(b - a for a, b in pairwise(found))]


@given(gaps, st.integers(0, 100))
def test_a_workload_begun_elsewhere_has_the_same_requests_and_gaps_in_a_circle(
    gaps: list[float], first: int
) -> None:
    workload = spaced(gaps).at_rate(1.0)
    count = len(workload.requests)
    begun = workload.rotated(first % count)
    at = first % count
    assert lengths(begun) == [*lengths(workload)[at:], *lengths(workload)[:at]]
    before = cyclic_gaps(workload, count / 1.0)
    after = cyclic_gaps(begun, count / 1.0)
    assert after == pytest.approx([*before[at:], *before[:at]], abs=1e-6)
    assert times(begun)[0] == 0.0
    assert replace(begun, requests=workload.requests) == workload


def test_a_workload_begun_at_its_second_request() -> None:
    # The period is four seconds and a mean gap of two.
    assert THREE.rotated(1).requests == (
        Request(0.0, 300, 20),
        Request(3.0, 200, 60),
        Request(5.0, 100, 10),
    )


def test_what_arrives_at_once_still_does_when_it_is_begun_elsewhere() -> None:
    burst = THREE.at_rate(math.inf).rotated(2)
    assert times(burst) == [0.0, 0.0, 0.0]
    assert lengths(burst) == [(200, 60), (100, 10), (300, 20)]


def test_a_load_is_watched_by_nobody_unless_told_otherwise() -> None:
    assert Load(workload=THREE).watch is None
