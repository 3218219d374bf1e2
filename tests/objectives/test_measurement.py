import pytest
from hypothesis import given
from hypothesis import strategies as st

from objectives import Measurement, RequestResult

LONG = RequestResult(0.0, 100, 11, ttft_ms=50.0, e2el_ms=250.0)
SHORT = RequestResult(1.0, 200, 5, ttft_ms=100.0, e2el_ms=300.0)
ONE_TOKEN = RequestResult(2.0, 300, 1, ttft_ms=30.0, e2el_ms=30.0)
CUT_SHORT = RequestResult(3.0, 400, 7, ttft_ms=900.0)
FAILED = RequestResult(4.0, 500, 0)


def measured(*results: RequestResult) -> Measurement:
    return Measurement(results=results, duration_s=2.0, gpus=4)


def test_tpot_leaves_the_first_token_out() -> None:
    assert LONG.tpot_ms == (250.0 - 50.0) / 10


def test_an_answer_of_one_token_has_no_tpot() -> None:
    assert (ONE_TOKEN.completed, ONE_TOKEN.tpot_ms) == (True, None)


def test_a_request_cut_short_has_not_completed_and_has_no_tpot() -> None:
    assert (CUT_SHORT.completed, CUT_SHORT.tpot_ms) == (False, None)


def test_every_metric_follows_from_the_results() -> None:
    assert measured(LONG, SHORT, ONE_TOKEN, CUT_SHORT, FAILED).metrics == pytest.approx(
        {
            "completed": 3,
            "failed": 2,
            "duration_s": 2.0,
            "request_throughput": 1.5,
            "output_throughput": 8.5,
            "total_token_throughput": 308.5,
            "output_throughput_per_gpu": 2.125,
            # 10 gaps of 20 ms and 4 of 50 ms.
            "mean_itl_ms": 400 / 14,
            "mean_ttft_ms": 60.0,
            "median_ttft_ms": 50.0,
            "p90_ttft_ms": 90.0,
            "p95_ttft_ms": 95.0,
            "p99_ttft_ms": 99.0,
            "mean_tpot_ms": 35.0,
            "median_tpot_ms": 35.0,
            "p90_tpot_ms": 47.0,
            "p95_tpot_ms": 48.5,
            "p99_tpot_ms": 49.7,
            "mean_e2el_ms": 580 / 3,
            "median_e2el_ms": 250.0,
            "p90_e2el_ms": 290.0,
            "p95_e2el_ms": 295.0,
            "p99_e2el_ms": 299.0,
        }
    )


def test_where_nothing_completed_there_are_no_latencies() -> None:
    metrics = measured(CUT_SHORT, FAILED).metrics
    assert {name: value for name, value in metrics.items() if value is not None} == {
        "completed": 0,
        "failed": 2,
        "duration_s": 2.0,
        "request_throughput": 0.0,
        "output_throughput": 0.0,
        "total_token_throughput": 0.0,
        "output_throughput_per_gpu": 0.0,
    }


def test_answers_of_one_token_leave_no_tpot_and_no_itl() -> None:
    metrics = measured(ONE_TOKEN).metrics
    assert {name for name, value in metrics.items() if value is None} == {
        "mean_itl_ms",
        *(f"{kind}_tpot_ms" for kind in ("mean", "median", "p90", "p95", "p99")),
    }


def test_a_percentile_that_is_not_reported_can_be_asked_for() -> None:
    measurement = measured(LONG, SHORT)
    assert "p99.9_ttft_ms" not in measurement.metrics
    assert measurement.metric("p99.9_ttft_ms") == pytest.approx(99.95)


def test_an_unknown_metric_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="p95_itl_ms"):
        measured(LONG).metric("p95_itl_ms")
    with pytest.raises(KeyError, match="mean_itl_ms"):
        measured(LONG).latency_ms("mean_itl_ms")


def test_the_engines_own_account_is_among_the_metrics() -> None:
    measurement = Measurement(
        results=(LONG,), duration_s=1.0, gpus=1, engine={"mean_running": 3.5}
    )
    assert measurement.metric("mean_running") == 3.5


def test_the_makespan_is_the_time_for_all_documents_at_this_throughput() -> None:
    measurement = Measurement(
        results=(LONG, SHORT, FAILED), duration_s=10.0, gpus=1, documents=1000
    )
    assert measurement.metric("makespan_s") == 5000.0


def test_a_makespan_without_a_completed_request_is_unknown() -> None:
    measurement = Measurement(results=(FAILED,), duration_s=10.0, gpus=1, documents=1000)
    assert measurement.metric("makespan_s") is None


@pytest.mark.parametrize(("results", "duration_s"), [((), 1.0), ((LONG,), 0.0)])
def test_a_measurement_needs_requests_and_time(
    results: tuple[RequestResult, ...], duration_s: float
) -> None:
    with pytest.raises(ValueError, match="at least one request and a positive duration"):
        Measurement(results=results, duration_s=duration_s, gpus=1)


@given(st.lists(st.tuples(st.floats(1, 1e5), st.floats(0, 1e5), st.integers(1, 500)), min_size=1))
def test_percentiles_rise_with_their_share_and_stay_among_the_observed(
    answers: list[tuple[float, float, int]],
) -> None:
    measurement = measured(
        *(RequestResult(0.0, 1, tokens, ttft, ttft + rest) for ttft, rest, tokens in answers)
    )
    for latency in ("ttft", "e2el"):
        values = [measurement.latency_ms(f"p{share}_{latency}_ms") for share in (10, 50, 90, 99)]
        seen = [r.ttft_ms if latency == "ttft" else r.e2el_ms for r in measurement.results]
        known = [value for value in values if value is not None]
        assert known == sorted(known)
        assert min(v for v in seen if v is not None) <= known[0] + 1e-9
        assert known[-1] <= max(v for v in seen if v is not None) + 1e-9


@given(st.permutations([LONG, SHORT, ONE_TOKEN, CUT_SHORT, FAILED]))
def test_the_order_of_the_results_changes_no_metric(results: list[RequestResult]) -> None:
    assert measured(*results).metrics == pytest.approx(
        measured(LONG, SHORT, ONE_TOKEN, CUT_SHORT, FAILED).metrics
    )
