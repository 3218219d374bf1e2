from dataclasses import replace
from math import inf

import pytest

from objectives import Bound, Verdict
from runners.simulated.calibration import Interval, Parameters, claims, draws, intervals, prior


def metrics(parameters: Parameters) -> dict[str, float | None]:
    return {
        "mean_ttft_ms": 100 * parameters.prefill_factor + parameters.api_ms,
        "p95_tpot_ms": 10 * parameters.decode_factor,
        "completed": 600,
        "failed": 0,
        "p99_e2el_ms": None,
    }


def test_latencies_and_rates_get_an_interval_and_counts_none() -> None:
    assert set(intervals(prior(1), metrics)) == {"mean_ttft_ms", "p95_tpot_ms"}


def test_the_interval_holds_the_parameters_spread_and_what_they_leave_unsaid() -> None:
    found = intervals(prior(1), metrics)["p95_tpot_ms"]
    assert found.value == pytest.approx(11.2)
    # Factor 1.12 +- 0.14 and 5 % beside it: 13.5 % in all, times 1.645.
    assert (found.low, found.high) == pytest.approx((11.2 * 0.801, 11.2 * 1.249), rel=0.07)


def test_a_tail_is_as_uncertain_as_tails_were_seen_to_be() -> None:
    rough = replace(prior(1), tpot_tail_sd=0.5)
    mean, tail = (
        intervals(rough, lambda p, n=name: {n: 10 * p.decode_factor})[name]  # type: ignore[misc]
        for name in ("mean_tpot_ms", "p99_tpot_ms")
    )
    assert mean.high / mean.low < 2 < tail.high / tail.low


def test_the_same_seed_draws_the_same_parameters_centred_on_the_mean() -> None:
    drawn = draws(prior(4), seed=3)
    assert drawn == draws(prior(4), seed=3)
    assert drawn != draws(prior(4), seed=4)
    assert len(drawn) == 16
    assert min(one.host_ms for one in drawn) >= 0


def test_where_some_parameters_would_answer_nobody_nothing_is_claimed() -> None:
    def fragile(parameters: Parameters) -> dict[str, float | None]:
        return {"p95_tpot_ms": None if parameters.decode_factor > 1.2 else 9.0}

    found = intervals(prior(1), fragile)["p95_tpot_ms"]
    assert found == Interval(9.0, 0.0, inf)
    assert claims(Bound("p95_tpot_ms", "<=", 1e9), found) is Verdict.UNDECIDED


@pytest.mark.parametrize(
    ("metric", "sense", "limit", "verdict"),
    [
        ("p95_ttft_ms", "<=", 130, Verdict.MET),
        ("p95_ttft_ms", "<=", 110, Verdict.UNDECIDED),
        ("p95_ttft_ms", "<=", 95, Verdict.UNDECIDED),
        ("p95_ttft_ms", "<=", 79, Verdict.BROKEN),
        ("output_throughput", ">=", 79, Verdict.MET),
        ("output_throughput", ">=", 100, Verdict.UNDECIDED),
        ("output_throughput", ">=", 121, Verdict.BROKEN),
    ],
)
def test_nothing_is_claimed_inside_the_predictions_own_error(
    metric: str, sense: str, limit: float, verdict: Verdict
) -> None:
    bound = Bound(metric, "<=" if sense == "<=" else ">=", limit)
    assert claims(bound, Interval(100, 80, 120)) is verdict
