import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from objectives import Bound, Judgement, Measurement, RequestResult, Verdict, judge, parse_sla
from objectives.sla import holds, patience_s

PERCENTILES = (50, 75, 90, 95, 99)

ttfts = st.lists(st.none() | st.floats(1, 5000), min_size=1, max_size=60)
limits = st.floats(1, 5000)
shares = st.sampled_from(PERCENTILES)
pieces = st.sampled_from(
    [
        *("p95_ttft_ms", "p9", "mean_itl_ms", "<=", ">=", "500", "1e999", "nan"),
        *"<=-_, \n\x1c\u2028'",
    ]
)
junk = st.text() | st.lists(pieces, max_size=9).map("".join)


def measured(*ttft_ms: float | None) -> Measurement:
    """Answers of 11 tokens at 20 ms each, by their TTFT; ``None``: the request failed."""
    results = tuple(
        RequestResult(float(i), 100, 0)
        if ttft is None
        else RequestResult(float(i), 100, 11, ttft, ttft + 200)
        for i, ttft in enumerate(ttft_ms)
    )
    return Measurement(results=results, duration_s=10.0, gpus=1)


def bound(text: str) -> Bound:
    (only,) = parse_sla(text)
    return only


def test_bounds_are_read_and_sorted_by_name() -> None:
    assert parse_sla(" p95_ttft_ms<=500, p95_tpot_ms <= 4e1,output_throughput>=100 ") == (
        Bound("output_throughput", ">=", 100.0),
        Bound("p95_tpot_ms", "<=", 40.0),
        Bound("p95_ttft_ms", "<=", 500.0),
    )


def test_a_bound_is_named_as_it_is_written() -> None:
    assert [b.name for b in parse_sla("p99.9_e2el_ms<=2500.5,mean_itl_ms<=30")] == [
        "mean_itl_ms<=30",
        "p99.9_e2el_ms<=2500.5",
    ]


def test_the_source_of_a_number_stays_with_it() -> None:
    assert parse_sla("p95_ttft_ms<=500", source="MLPerf") == (
        Bound("p95_ttft_ms", "<=", 500.0, "MLPerf"),
    )


@given(junk)
@example("")
@example("p95_ttft_ms<=500,")
@example("p95_ttft_ms<=5\n00")
def test_any_text_is_an_sla_or_is_refused_on_one_line(text: str) -> None:
    try:
        said = [bound.name for bound in parse_sla(text)]
    except ValueError as error:
        said = str(error).splitlines()
        assert len(said) == 1
    assert said


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "p95_ttft_ms<500",
            "Cannot read the SLA 'p95_ttft_ms<500'; "
            "it reads like `p95_ttft_ms<=500,p95_tpot_ms<=40`.",
        ),
        ("p95_ttft_ms<=0.5s", "'0.5s' in the SLA 'p95_ttft_ms<=0.5s' is not a number."),
        ("p95_ttft_ms<=0", "A bound needs a number above 0, but got p95_ttft_ms=0.0."),
        ("p95_ttft_ms<=nan", "A bound needs a number above 0, but got p95_ttft_ms=nan."),
        ("p95_ttft_ms<=inf", "A bound needs a number above 0, but got p95_ttft_ms=inf."),
        (
            "p0_ttft_ms<=5",
            "A percentile above 0 and below 100 is needed, but got p0_ttft_ms.",
        ),
        (
            "p99.99999999999999999_ttft_ms<=5",
            "A percentile above 0 and below 100 is needed, but got p99.99999999999999999_ttft_ms.",
        ),
        (
            "p95_ttft_ms<=5,mean_itl_ms<=1,p95_ttft_ms<=9",
            "The SLA bounds p95_ttft_ms more than once.",
        ),
    ],
)
def test_a_refusal_names_the_offender(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        parse_sla(text)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("metric", "nearest"),
    [
        ("p95_ttft", "p95_ttft_ms"),
        ("p95_itl_ms", "p95_ttft_ms"),
        ("P95_TTFT_MS", "p95_ttft_ms"),
        ("output_thruput", "output_throughput"),
        ("makespan", "makespan_s"),
    ],
)
def test_an_unknown_metric_is_answered_with_the_nearest(metric: str, nearest: str) -> None:
    with pytest.raises(ValueError, match=f"Unknown metric '{metric}'; nearest: {nearest}[,.]"):
        parse_sla(f"{metric}<=1")


def test_a_metric_may_be_bounded_from_both_sides() -> None:
    assert [b.name for b in parse_sla("output_throughput>=10,output_throughput<=20")] == [
        "output_throughput<=20",
        "output_throughput>=10",
    ]


def test_failed_requests_count_as_misses() -> None:
    assert judge(bound("p75_ttft_ms<=400"), measured(100, 100, None, None)) == Judgement(
        limit=400.0, value=100.0, share=0.5, verdict=Verdict.BROKEN, excess=3.0
    )


def test_all_within_the_limit_is_met_at_any_share() -> None:
    assert judge(bound("p99_ttft_ms<=400"), measured(100, 200, 200)) == Judgement(
        limit=400.0, value=200.0, share=1.0, verdict=Verdict.MET, excess=-1.0
    )


def test_a_run_without_an_answer_breaks_every_bound() -> None:
    nothing = measured(None, None, None)
    missed = Judgement(limit=400.0, value=None, share=0.0, verdict=Verdict.BROKEN, excess=3.0)
    assert judge(bound("p95_ttft_ms<=400"), nothing) == missed
    assert judge(bound("mean_tpot_ms<=400"), nothing) == Judgement(
        limit=400.0, value=None, share=None, verdict=Verdict.BROKEN, excess=3.0
    )


def test_a_share_too_close_to_its_target_is_undecided() -> None:
    results = [100.0 if i % 20 else 900.0 for i in range(1, 201)]
    judgement = judge(bound("p95_ttft_ms<=400"), measured(*results))
    assert (judgement.share, judgement.verdict, judgement.excess) == (
        0.95,
        Verdict.UNDECIDED,
        -2.0,
    )


@pytest.mark.parametrize("metric", ["p95_tpot_ms", "mean_tpot_ms", "mean_itl_ms"])
def test_answers_of_one_token_cannot_break_a_bound_between_tokens(metric: str) -> None:
    one_token = Measurement(
        results=(RequestResult(0.0, 100, 1, 50.0, 50.0),) * 3, duration_s=1.0, gpus=1
    )
    judgement = judge(bound(f"{metric}<=40"), one_token)
    assert (judgement.verdict, judgement.excess) == (Verdict.MET, -3.0)


def test_an_answer_of_unknown_ttft_has_missed_a_bound_on_it() -> None:
    unseen = Measurement(
        results=(RequestResult(0.0, 100, 11, e2el_ms=300.0),), duration_s=1.0, gpus=1
    )
    judgement = judge(bound("p95_ttft_ms<=400"), unseen)
    assert (judgement.share, judgement.verdict) == (0.0, Verdict.BROKEN)


@pytest.mark.parametrize(
    ("text", "value", "verdict", "excess"),
    [
        ("mean_ttft_ms<=600", 300.0, Verdict.MET, -1.0),
        ("mean_ttft_ms<=300", 300.0, Verdict.MET, 0.0),
        ("mean_ttft_ms<=150", 300.0, Verdict.BROKEN, 1.0),
        ("mean_ttft_ms<=1", 300.0, Verdict.BROKEN, 3.0),
        ("mean_itl_ms<=40", 20.0, Verdict.MET, -1.0),
        ("output_throughput>=1.1", 2.2, Verdict.MET, -1.0),
        ("output_throughput>=4.4", 2.2, Verdict.BROKEN, 1.0),
        ("request_throughput>=100", 0.2, Verdict.BROKEN, 3.0),
        ("mean_ttft_ms<=1e308", 300.0, Verdict.MET, -3.0),
    ],
)
def test_a_bound_on_a_mean_or_a_rate_compares_the_number(
    text: str, value: float, verdict: Verdict, excess: float
) -> None:
    assert judge(bound(text), measured(200, 400)) == Judgement(
        limit=bound(text).limit,
        value=value,
        share=None,
        verdict=verdict,
        excess=excess,
    )


def test_a_throughput_of_nothing_is_as_far_off_as_can_be() -> None:
    assert judge(bound("output_throughput>=1"), measured(None)).excess == 3.0


def test_a_latency_too_small_to_divide_is_within() -> None:
    assert judge(bound("p50_ttft_ms<=1e300"), measured(1e-300)).excess == -3.0


@given(ttfts, limits, shares)
def test_the_excess_is_within_exactly_when_the_share_reaches_its_target(
    ttft_ms: list[float | None], limit: float, percent: int
) -> None:
    judgement = judge(Bound(f"p{percent}_ttft_ms", "<=", limit), measured(*ttft_ms))
    hits = sum(ttft is not None and ttft <= limit for ttft in ttft_ms)
    assert judgement.share == hits / len(ttft_ms)
    assert (judgement.excess <= 0) == (100 * hits >= percent * len(ttft_ms))
    assert -3 <= judgement.excess <= 3


@given(ttfts, limits, shares)
@example([100.0, 100.0, 900.0, 100.0, 100.0], 400.0, 75)
def test_a_verdict_never_contradicts_the_share(
    ttft_ms: list[float | None], limit: float, percent: int
) -> None:
    judgement = judge(Bound(f"p{percent}_ttft_ms", "<=", limit), measured(*ttft_ms))
    if judgement.verdict is Verdict.MET:
        assert judgement.excess <= 0
    if judgement.verdict is Verdict.BROKEN:
        assert judgement.excess > 0


@given(ttfts, limits, shares, st.floats(1, 10))
def test_loosening_a_bound_never_breaks_a_kept_one(
    ttft_ms: list[float | None], limit: float, percent: int, factor: float
) -> None:
    measurement = measured(*ttft_ms)
    tight = judge(Bound(f"p{percent}_ttft_ms", "<=", limit), measurement)
    loose = judge(Bound(f"p{percent}_ttft_ms", "<=", limit * factor), measurement)
    assert loose.excess <= tight.excess
    if tight.verdict is Verdict.MET:
        assert loose.verdict is Verdict.MET
    if loose.verdict is Verdict.BROKEN:
        assert tight.verdict is Verdict.BROKEN


def test_an_sla_holds_when_every_bound_does() -> None:
    measurement = measured(100, 200, 300)
    assert [
        holds(parse_sla(text), measurement)
        for text in (
            "p95_ttft_ms<=300,mean_itl_ms<=20",
            "p95_ttft_ms<=299,mean_itl_ms<=20",
            "p95_ttft_ms<=300,mean_itl_ms<=19",
        )
    ] == [True, False, False]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("p95_e2el_ms<=10000,p95_ttft_ms<=500,p95_tpot_ms<=40", 30.0),
        ("p95_ttft_ms<=500,p95_tpot_ms<=40", 3 * (0.5 + 100 * 0.04)),
        ("p95_ttft_ms<=500,p99_ttft_ms<=900,p95_tpot_ms<=40", 3 * (0.9 + 100 * 0.04)),
        ("p95_ttft_ms<=500", math.inf),
        ("output_throughput>=100", math.inf),
    ],
)
def test_patience_is_three_times_the_latency_promised(text: str, seconds: float) -> None:
    assert patience_s(parse_sla(text), output_tokens=100) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "needed"),
    [
        ("median_ttft_ms<=5", 5),
        ("p50_e2el_ms<=5", 5),
        ("p95_tpot_ms<=5", 59),
        ("p99_ttft_ms<=5", 299),
        ("p99.9_ttft_ms<=5", 2995),
        ("mean_ttft_ms<=5", 1),
        ("output_throughput>=5", 1),
        ("makespan_s<=5", 1),
    ],
)
def test_a_bound_on_a_share_needs_enough_requests_to_tell_it_kept(text: str, needed: int) -> None:
    assert [bound.requests_needed for bound in parse_sla(text)] == [needed]
