import math
import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objectives import Measurement, Request, RequestResult, Workload, judge, parse_sla
from objectives.sequential import (
    Batches,
    BatchTest,
    GrowthTest,
    InBatches,
    MeanTest,
    MissCount,
    ShareTest,
    latency_tests,
)

(P95,) = parse_sla("p95_ttft_ms<=500")
KEPT, MISSED = (RequestResult(0.0, 9, 2, ttft, ttft + 50) for ttft in (100.0, 900.0))
FAILED = RequestResult(0.0, 9, 2)


def batch(kept: int, of: int = 20) -> list[RequestResult]:
    return [KEPT] * kept + [MISSED] * (of - kept)


def broken_at(test: BatchTest, batches: Sequence[Sequence[RequestResult]]) -> int | None:
    """The first batch, from 1, by which it is clear that the bound is broken."""
    said = (number for number, one in enumerate(batches, 1) if test.broken(one))
    return next(said, None)


def at_least(count: int, of: int, share: float) -> float:
    """Probability of so many successes or more, if each has this probability."""
    return sum(math.comb(of, k) * share**k * (1 - share) ** (of - k) for k in range(count, of + 1))


def test_a_run_is_broken_by_the_first_miss_that_the_rest_cannot_make_good() -> None:
    count = MissCount([P95], 60)
    over = [count.over(r, 0.0) for r in [*[MISSED] * 3, *[KEPT] * 50, FAILED, KEPT]]
    assert over == [*[False] * 53, True, True]


def test_a_spare_miss_is_allowed_besides() -> None:
    count = MissCount([P95], 60, spare=1)
    assert [count.over(MISSED, 0.0) for _ in range(5)] == [False] * 4 + [True]


def test_each_bound_is_counted_by_itself_and_a_mean_is_not_counted() -> None:
    slow_tokens = RequestResult(0.0, 9, 2, 100.0, 200.0)
    count = MissCount(parse_sla("p95_ttft_ms<=500,p95_tpot_ms<=60,mean_e2el_ms<=1"), 20)
    assert [count.over(r, 0.0) for r in (MISSED, slow_tokens, slow_tokens)] == [False, False, True]


@given(st.lists(st.booleans(), min_size=1, max_size=60), st.sampled_from([50, 90, 95, 99]))
def test_a_run_is_over_exactly_when_its_own_share_falls_short(
    hits: list[bool], percent: int
) -> None:
    (bound,) = parse_sla(f"p{percent}_ttft_ms<=500")
    results = tuple(KEPT if hit else MISSED for hit in hits)
    count = MissCount([bound], len(hits))
    over = [count.over(result, 0.0) for result in results]
    assert over == sorted(over)
    measured = Measurement(results=results, duration_s=1.0, gpus=1)
    assert over[-1] == (judge(bound, measured).excess > 0)


@pytest.mark.parametrize(
    ("batches", "number"),
    [
        # Two misses of twenty: the four games grow by 17/16, 9/8, 5/4 and 3/2 a batch, and their
        # sum is 72.1 after ten and 103.7 after eleven; 80 is 4 / 0.05.
        ([batch(18)] * 20, 11),
        # A batch without a miss first takes 1/16, 1/8, 1/4 and 1/2 of them: 57.0, then 81.3.
        ([batch(20), *[batch(18)] * 20], 13),
        # None kept: times 2.19, 3.38, 5.75 and 10.5, so 21.8, then 159.5.
        ([batch(0)] * 3, 2),
        # As many misses as promised leave every stake as it was.
        ([batch(19)] * 1000, None),
        # Batches may be of any size.
        ([batch(9, of=10)] * 20, 11),
    ],
)
def test_the_stakes_grow_and_shrink_with_what_a_batch_misses(
    batches: list[list[RequestResult]], number: int | None
) -> None:
    assert broken_at(ShareTest(P95), batches) == number


def test_with_more_doubt_allowed_less_is_enough() -> None:
    # Four misses: times 1.1875, 1.375, 1.75 and 2.5, so 25.2 after three batches, 54.0 after four,
    # 3991 after nine and 9850 after ten.
    assert broken_at(ShareTest(P95, alpha=0.1), [batch(16)] * 20) == 4
    assert broken_at(ShareTest(P95, alpha=0.001), [batch(16)] * 20) == 10


def test_a_request_that_failed_has_missed() -> None:
    assert broken_at(ShareTest(P95), [[FAILED] * 20] * 3) == 2


def test_a_median_is_a_share_of_one_half() -> None:
    (median,) = parse_sla("median_ttft_ms<=500")
    assert broken_at(ShareTest(median), [batch(10)] * 100) is None
    # A quarter kept instead of half: times 33/32, 17/16, 9/8 and 5/4; 68.1, then 83.7.
    assert broken_at(ShareTest(median), [batch(5)] * 20) == 19


def test_a_bound_on_a_number_has_no_share_to_test() -> None:
    (mean,) = parse_sla("mean_ttft_ms<=500")
    with pytest.raises(ValueError, match="A share of requests is tested, but mean_ttft_ms<=500"):
        ShareTest(mean)


(MEAN,) = parse_sla("mean_ttft_ms<=500")


def around(mean_ms: float, sd_ms: float, rng: random.Random) -> list[list[RequestResult]]:
    """Twenty batches whose mean TTFTs differ so much."""
    means = [rng.gauss(mean_ms, sd_ms) for _ in range(20)]
    return [[RequestResult(0.0, 9, 2, mean, mean + 50)] * 20 for mean in means]


@pytest.mark.parametrize(("ttft_ms", "number"), [(501.0, 4), (500.0, None), (499.0, None)])
def test_a_mean_that_never_varies_is_known_at_the_first_look(
    ttft_ms: float, number: int | None
) -> None:
    assert broken_at(MeanTest(MEAN), around(ttft_ms, 0.0, random.Random(1))) == number


def test_what_was_not_answered_is_in_no_mean() -> None:
    assert broken_at(MeanTest(MEAN), [[KEPT, FAILED]] * 20) is None
    assert broken_at(MeanTest(MEAN), [*[[FAILED]] * 5, *[[MISSED, FAILED]] * 20]) == 9


def test_a_mean_that_just_keeps_its_bound_is_hardly_ever_said_to_break_it() -> None:
    rng = random.Random(1)
    runs = [around(500.0, 100.0, rng) for _ in range(1000)]
    wrong = sum(broken_at(MeanTest(MEAN), run) is not None for run in runs)
    # Were it one run in twenty, so many or more would be no surprise.
    assert at_least(wrong, 1000, 0.05) > 0.01


def test_only_an_upper_bound_on_a_mean_latency_can_be_tested() -> None:
    with pytest.raises(ValueError, match="A mean latency is tested, but p95_ttft_ms<=500"):
        MeanTest(P95)


def test_bounds_on_latencies_are_tested_and_others_left_to_the_end() -> None:
    bounds = parse_sla("p95_ttft_ms<=500,output_throughput>=9,mean_tpot_ms<=30")
    assert [type(test) for test in latency_tests(bounds)] == [ShareTest, MeanTest]


def simulated_runs(share: float, *, seed: int, runs: int) -> list[int | None]:
    """Of 600 requests each, that keep the bound with this probability, in batches of 30."""
    rng = random.Random(seed)
    return [
        broken_at(
            ShareTest(P95),
            [[KEPT if rng.random() < share else MISSED for _ in range(30)] for _ in range(20)],
        )
        for _ in range(runs)
    ]


def test_a_promise_that_is_just_kept_is_hardly_ever_said_to_be_broken() -> None:
    wrong = sum(number is not None for number in simulated_runs(0.95, seed=1, runs=1000))
    # Were it one run in twenty, so many or more would be no surprise.
    assert at_least(wrong, 1000, 0.05) > 0.01


@given(st.integers(0, 2**32))
def test_a_clear_breaker_is_found_within_three_batches(seed: int) -> None:
    (number,) = simulated_runs(0.3, seed=seed, runs=1)
    assert number is not None
    assert number <= 3


def test_most_of_what_breaks_a_promise_by_a_little_is_found_before_the_end() -> None:
    found = simulated_runs(0.9, seed=2, runs=200)
    assert sum(number is not None for number in found) > 100


def open_loop(times: Sequence[float]) -> Workload:
    return Workload(name="open", requests=tuple(Request(t, 9, 2) for t in times))


def answered(arrival_s: float, ttft_ms: float = 100.0) -> RequestResult:
    return RequestResult(arrival_s, 9, 2, ttft_ms, ttft_ms)


@given(st.data(), st.integers(1, 130))
def test_batches_come_in_order_of_arrival_whatever_finishes_first(
    data: st.DataObject, count: int
) -> None:
    gaps = data.draw(st.lists(st.sampled_from([0.0, 0.5, 2.0]), min_size=count, max_size=count))
    times = [sum(gaps[: n + 1]) for n in range(count)]
    batches = Batches(open_loop(times))
    released = []
    for arrival_s in data.draw(st.permutations(times)):
        released += batches.add(answered(arrival_s))
    assert [len(one) for one in released] == [20] * (count // 20)
    flat = [result.arrival_s for one in released for result in one]
    assert flat == times[: len(flat)]


def test_a_batch_waits_for_the_slowest_of_it_and_is_then_there_at_once() -> None:
    times = [float(n) for n in range(60)]
    batches = Batches(open_loop(times))
    assert [batches.add(answered(t)) for t in times[1:50]] == [[]] * 49
    first, second = batches.add(answered(0.0))
    assert [r.arrival_s for r in (*first, *second)] == times[:40]


def test_a_long_run_is_judged_by_twenty_batches() -> None:
    times = [float(n) for n in range(610)]
    batches = Batches(open_loop(times))
    sizes = [len(one) for t in times for one in batches.add(answered(t))]
    assert sizes == [31] * 19


def test_a_closed_loop_has_no_arrivals_to_go_by_and_counts_what_finishes() -> None:
    closed = open_loop([0.0] * 40).at_concurrency(4)
    batches = Batches(closed)
    sent = [float(n % 4 * 10 + n) for n in range(40)]
    released = [one for s in sent for one in batches.add(answered(s))]
    assert [[r.arrival_s for r in one] for one in released] == [sent[:20], sent[20:]]


def test_a_watch_says_so_once_and_for_all() -> None:
    times = [float(n) for n in range(600)]
    watch = InBatches(open_loop(times), [ShareTest(P95)])
    over = [watch.over(answered(t, 900.0 if t < 60 else 100.0), t) for t in times]
    assert over == [*[False] * 59, *[True] * 541]


def test_a_watch_of_several_promises_is_over_with_the_first_that_is_broken() -> None:
    times = [float(n) for n in range(600)]
    late = [ShareTest(bound) for bound in parse_sla("p95_ttft_ms<=500,p95_e2el_ms<=5000")]
    watch = InBatches(open_loop(times), late)
    assert [watch.over(answered(t, 900.0), t) for t in times].index(True) == 59
    assert not any(InBatches(open_loop(times), []).over(answered(t, 900.0), t) for t in times)


def queued(times: Sequence[float], rng: random.Random) -> list[RequestResult]:
    """Served one after the other, each in a second on average, in order of arrival."""
    free_s, results = 0.0, []
    for arrival_s in times:
        free_s = max(arrival_s, free_s) + rng.expovariate(1.0)
        results.append(answered(arrival_s, (free_s - arrival_s) * 1000))
    return results


def grown_at(rho: float, seed: int, *, burst: int = 0, burst_at: float = 0.0) -> float | None:
    """Share of a run of 600 requests after which it is clear that latency grows."""
    rng = random.Random(seed)
    times = [0.0]
    while len(times) < 600 - burst:
        times.append(times[-1] + rng.expovariate(rho))
    times = sorted([*times, *[times[int(burst_at * len(times))]] * burst])
    watch = InBatches(open_loop(times), [GrowthTest(open_loop(times))])
    over = [watch.over(result, 0.0) for result in queued(times, rng)]
    return over.index(True) / 600 if over[-1] else None


def test_a_queue_that_builds_up_is_found_before_the_end() -> None:
    found = [grown_at(1.2, seed) for seed in range(20)]
    assert sum(share is not None and share < 0.95 for share in found) >= 18
    assert [share for share in found if share is not None and share < 2 / 3] == []


def test_a_stable_load_does_not_grow() -> None:
    assert [grown_at(0.7, seed) for seed in range(40)] == [None] * 40


@pytest.mark.parametrize("burst_at", [0.2, 0.4, 0.6, 0.7])
def test_a_burst_that_is_worked_off_is_no_growth(burst_at: float) -> None:
    found = [grown_at(0.7, seed, burst=60, burst_at=burst_at) for seed in range(40)]
    # One run in twenty may be mistaken for one that grows.
    assert sum(share is not None for share in found) <= 2


def test_nobody_is_answered_any_more() -> None:
    times = [float(n) for n in range(600)]
    test = GrowthTest(open_loop(times))
    mute = [[RequestResult(t, 9, 2) for t in times[n : n + 30]] for n in range(0, 600, 30)]
    assert [test.broken(one) for one in mute].index(True) == 13
