import math
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objectives import Measurement, Request, RequestResult, Verdict, Workload
from objectives.growth import Trend, growth, keeping_up, latency_trend, typical_s

MINUTE = Workload(name="minute", requests=tuple(Request(float(n), 9, 11) for n in range(60)))


def run(ttft_ms: Callable[[int], float | None], count: int = 60) -> Measurement:
    """A request a second, answered in 11 tokens at 20 ms each; ``None``: not at all."""
    results = tuple(answer(float(n), ttft_ms(n)) for n in range(count))
    return Measurement(results=results, duration_s=float(count), gpus=1)


def answer(arrival_s: float, ttft_ms: float | None) -> RequestResult:
    if ttft_ms is None:
        return RequestResult(arrival_s, 9, 11)
    return RequestResult(arrival_s, 9, 11, ttft_ms, ttft_ms + 200)


def in_batches(results: Sequence[RequestResult], size: int) -> list[Sequence[RequestResult]]:
    return [results[at : at + size] for at in range(0, len(results), size)]


def test_a_typical_answer_has_the_median_of_each_latency_and_the_mean_length() -> None:
    results = [answer(float(n), ttft) for n, ttft in enumerate([100.0, 300.0, 9000.0, None])]
    assert typical_s(results, MINUTE) == pytest.approx((300 + 20 * 11) / 1000)
    assert typical_s(results[3:], MINUTE) == math.inf
    one_token = [RequestResult(0.0, 9, 1, 70.0, 70.0)]
    assert typical_s(one_token, MINUTE) == 0.07


@pytest.mark.parametrize("share", [0.0, 0.03, 0.2, 1.5])
def test_latency_that_grows_by_a_share_of_the_time_grows_by_that(share: float) -> None:
    found = run(lambda n: 100 + 1000 * share * n)
    # From the middle of one third to that of the next: 20 requests, in a third of 59 s.
    assert growth(MINUTE, found) == pytest.approx(share * 20 / (59 / 3))
    trend = latency_trend(in_batches(found.results, 5), MINUTE, alpha=0.05)
    assert [trend.slope, trend.low] == pytest.approx([share, share])


def test_a_closed_loop_does_not_grow_nor_does_what_arrives_at_once() -> None:
    found = run(lambda n: 100.0 * n)
    for workload in (MINUTE.at_concurrency(8), MINUTE.at_rate(math.inf)):
        assert (growth(workload, found), keeping_up(workload, found)) == (0.0, Verdict.MET)


def test_a_run_of_two_requests_says_nothing_of_growth() -> None:
    assert growth(MINUTE, run(lambda n: 9000.0 * n, count=2)) == 0.0


def test_where_nobody_is_answered_at_the_end_latency_grows_without_end() -> None:
    mute = run(lambda n: 100.0 if n < 40 else None)
    assert (growth(MINUTE, mute), keeping_up(MINUTE, mute)) == (math.inf, Verdict.BROKEN)
    trend = latency_trend(in_batches(mute.results, 5), MINUTE, alpha=0.05)
    assert trend == Trend(math.inf, math.inf)


def test_latency_that_does_not_grow_keeps_up() -> None:
    assert keeping_up(MINUTE, run(lambda n: 100.0)) is Verdict.MET
    assert keeping_up(MINUTE, run(lambda n: 100 + 40.0 * n)) is Verdict.MET
    assert keeping_up(MINUTE, run(lambda n: 9000 - 100.0 * n)) is Verdict.MET


def test_latency_that_grows_steadily_falls_behind() -> None:
    assert keeping_up(MINUTE, run(lambda n: 100 + 60.0 * n)) is Verdict.BROKEN


def test_latency_that_grows_by_chance_is_undecided() -> None:
    # Each batch of three is early, then late, then later; by its medians the last third is later.
    rough = run(lambda n: (100.0, 4000.0, 100.0, 4000.0, 4000.0, 100.0)[n // 3 % 6] + 60 * n / 3)
    assert growth(MINUTE, rough) > 0.05
    assert keeping_up(MINUTE, rough) is Verdict.UNDECIDED


def test_two_points_have_no_trend_and_neither_have_many_at_one_time() -> None:
    points = in_batches(run(lambda n: 1000.0 * n).results, 30)
    assert latency_trend(points, MINUTE, alpha=0.05) == Trend(0.0, -math.inf)
    at_once = [[answer(0.0, 100.0 * n)] for n in range(9)]
    assert latency_trend(at_once, MINUTE, alpha=0.05) == Trend(0.0, -math.inf)


@given(st.lists(st.floats(10, 1e5), min_size=3, max_size=12))
def test_less_doubt_allowed_lowers_what_a_trend_is_surely_above(ttfts_ms: list[float]) -> None:
    points = [[answer(float(n), ttft)] for n, ttft in enumerate(ttfts_ms)]
    loose, strict = (latency_trend(points, MINUTE, alpha=alpha) for alpha in (0.2, 0.01))
    assert loose.slope == strict.slope
    assert strict.low <= loose.low <= loose.slope
