import math
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objectives import (
    Load,
    Measurement,
    Request,
    RequestResult,
    Verdict,
    Workload,
    parse_sla,
)
from objectives.growth import growth
from runners.replay import ReplayRunner
from runners.simulated import SimulatedRunner
from runners.simulated.catalogue import gpu, model
from search_spaces import Config, Deployment
from search_spaces.vllm import default_config, vllm_space
from tests.tuner.engines import Scripted
from tuner.capacity import Capacity, find_capacity, interval, search
from tuner.probing import NOISELESS, NOISY, Effort, Probe, Prober, offered_load, saturating_load

SLA = parse_sla("p95_tpot_ms<=40,p95_ttft_ms<=500")
OPEN = Workload(name="chat", requests=tuple(Request(n / 4, 64, 8) for n in range(12)))
L4 = Deployment(model=model("llama-3.1-8b"), gpu=gpu("l4"), gpus=1, max_model_len=2048)
TWIN, DEFAULT = SimulatedRunner(L4), default_config(vllm_space(L4))


def engine(most: float, *, drift_ms: float = 0.0) -> ReplayRunner:
    """Keeps the SLA up to ``most`` requests per second or in flight; never serves more than 20."""

    def served(config: Config, load: Load) -> Measurement:
        w = load.workload
        level = w.concurrency or w.request_rate
        ttft_ms = 100.0 if level <= most else 2000.0
        results = tuple(
            RequestResult(r.arrival_s, 64, 8, ttft_ms + n * drift_ms, ttft_ms + n * drift_ms + 70)
            for n, r in enumerate(w.requests)
        )
        return Measurement(results=results, duration_s=len(results) / min(level, 20.0), gpus=1)

    return ReplayRunner(measurements=served)


def found(runner: ReplayRunner, workload: Workload = OPEN, sla: str | None = None) -> Capacity:
    with runner.launch({}) as launched:
        return find_capacity(launched, (workload,), SLA if sla is None else parse_sla(sla))


@pytest.mark.parametrize("most", [0.6, 3.0, 4.0, 11.3, 900.0])
def test_the_capacity_is_found_to_one_percent_from_below(most: float) -> None:
    capacity = found(engine(most)).capacity
    assert capacity <= most < capacity * 1.012


def test_every_probe_says_whether_the_sla_held_and_they_come_in_order() -> None:
    result = found(engine(11.3))
    levels = [probe.level for probe in result.probes]
    assert levels == sorted(levels)
    assert all(probe.holds == (probe.level <= 11.3) for probe in result.probes)
    best = result.at_capacity
    assert best is not None
    assert best.level == max(level for level in levels if level <= 11.3) == result.capacity


def test_where_the_sla_holds_at_no_rate_there_is_no_capacity() -> None:
    result = found(engine(0.1))
    assert (result.capacity, result.at_capacity) == (0.0, None)
    assert [probe.level for probe in result.probes] == pytest.approx([0.25, 0.5, 1.0, 2.0, 4.0])


def test_a_search_without_end_is_given_up_after_ten_doublings() -> None:
    result = found(engine(math.inf))
    assert result.capacity == pytest.approx(4.0 * 2**10)
    assert len(result.probes) == 11


def test_the_saturated_run_is_the_one_with_the_highest_throughput() -> None:
    result = found(engine(11.3))
    assert result.saturated.metrics["output_throughput"] == pytest.approx(20.0 * 8)
    assert len(result.saturated.results) == 36


def test_without_a_bound_on_latency_the_capacity_is_what_is_served_at_most() -> None:
    result = found(engine(11.3), sla="output_throughput>=1")
    assert result.capacity == pytest.approx(20.0)
    assert result.probes == []


def test_in_a_closed_loop_whole_numbers_of_requests_in_flight_are_tried() -> None:
    result = found(engine(11.3), OPEN.at_concurrency(4))
    assert result.at_capacity is not None
    assert result.at_capacity.level == 11.0
    assert {probe.level % 1 for probe in result.probes} == {0.0}
    throughput = result.at_capacity.measurement.metrics["request_throughput"]
    assert result.capacity == throughput


def test_a_batch_that_arrives_at_once_is_searched_from_what_the_engine_serves() -> None:
    at_once = Workload(name="offline", requests=tuple(Request(0.0, 64, 8) for _ in range(12)))
    result = found(engine(11.3), at_once)
    assert result.capacity <= 11.3 < result.capacity * 1.012


def test_a_rate_at_which_answers_get_later_and_later_does_not_hold() -> None:
    # All within the bounds, but each answer is 15 ms later than the last.
    falling_behind = engine(math.inf, drift_ms=15.0)
    with falling_behind.launch({}) as launched:
        measurement = launched.measure(offered_load(OPEN, SLA))
    assert growth(OPEN, measurement) == pytest.approx(0.0655, abs=1e-4)
    assert found(falling_behind).capacity < 4.0


def test_an_offered_run_ends_three_times_the_promised_latency_after_the_last_arrival() -> None:
    assert offered_load(OPEN, SLA).patience_s == pytest.approx(3 * (0.5 + 8 * 0.04))
    assert offered_load(OPEN, ()).patience_s == math.inf


def test_on_a_noisy_engine_a_closed_loop_ends_where_more_in_flight_serve_no_more() -> None:
    with engine(math.inf).launch({}) as launched:
        result = find_capacity(launched, (OPEN.at_concurrency(4),), SLA, effort=NOISY)
    assert [probe.level for probe in result.probes] == [4.0, 8.0, 16.0, 32.0, 64.0]
    assert result.capacity == pytest.approx(20.0)


def test_a_rate_that_says_nothing_of_the_engine_is_not_begun_with() -> None:
    with engine(11.3).launch({}) as launched:
        result = find_capacity(launched, (OPEN,), SLA, effort=NOISY, from_saturation=True)
    levels = [10.0, 10.91, 11.39, 11.89, 14.14, 20.0]
    assert [round(probe.level, 2) for probe in result.probes] == levels
    # The middle of the bracket, whose ends a noisy engine has decided.
    assert result.interval == pytest.approx((10.905, 11.388), abs=0.001)
    assert result.capacity == pytest.approx(11.144, abs=0.001)


def searched(
    holds: Callable[[float], bool],
    effort: Effort = NOISELESS,
    *,
    workload: Workload = OPEN,
    first: float | None = None,
    first_stride: float = 2.0,
    monotone: bool = True,
) -> Capacity:
    """Where the SLA holds at some levels and not at others; ``first`` is probed before."""

    def latencies(at: Workload) -> list[float | None]:
        level = at.concurrency or at.request_rate
        return [100.0 if holds(round(level, 6)) else 2000.0] * len(at.requests)

    asked = Scripted(latencies)
    prober = Prober(asked, (workload,), SLA, effort, first_stride=first_stride)
    if first is not None:
        prober.probe(first)
    saturated = asked.measure(saturating_load(workload, effort))
    return search(prober, saturated, monotone=monotone)


def levels(found: Capacity) -> list[float]:
    return [round(probe.level, 3) for probe in found.probes]


def test_a_promise_that_breaks_at_a_low_rate_and_holds_above_has_its_capacity_above() -> None:
    found = searched(lambda level: 6 <= level <= 11.3, monotone=False)
    assert 11.2 < found.capacity <= 11.3
    assert found.broken_below == [4.0]
    assert levels(found)[:2] == [4.0, 8.0]


def test_it_is_looked_for_at_four_times_the_first_level_and_no_further() -> None:
    assert searched(lambda level: 12 <= level <= 20, monotone=False).capacity > 19.8
    beyond = searched(lambda level: level >= 20, monotone=False)
    assert (beyond.capacity, beyond.broken_below) == (0.0, [])
    assert levels(beyond) == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0]


def test_below_a_level_that_holds_half_of_it_is_looked_at() -> None:
    found = searched(lambda level: 3 <= level <= 11.3, monotone=False)
    assert (11.2 < found.capacity <= 11.3, found.broken_below) == (True, [2.0])
    nothing = searched(lambda level: level <= 11.3, monotone=False)
    assert (nothing.broken_below, levels(nothing)[0]) == ([], 2.0)


def test_what_holds_at_a_level_is_taken_to_hold_below_it_where_nothing_waits() -> None:
    found = searched(lambda level: 3 <= level <= 11.3)
    assert (found.broken_below, levels(found)[0]) == ([], 4.0)


COARSE = replace(NOISELESS, resolution=2 ** (1 / 8))


def test_a_search_that_begins_near_goes_further_with_every_step_upwards() -> None:
    found = searched(lambda level: level <= 40, COARSE, first=10.0, first_stride=2 ** (1 / 8))
    steps = [10.0, 10.905, 12.968, 18.34, 36.68, 73.36]
    assert levels(found)[:5] == pytest.approx(steps[:5], abs=0.001)
    assert levels(found)[-1] == pytest.approx(steps[5], abs=0.001)
    assert 40 / 2 ** (1 / 8) < found.capacity <= 40


def test_and_downwards() -> None:
    found = searched(lambda level: level <= 4, COARSE, first=10.0, first_stride=2 ** (1 / 8))
    steps = [10.0, 9.17, 7.711, 5.453, 2.726]
    assert levels(found)[::-1][:4] == pytest.approx(steps[:4], abs=0.001)
    assert levels(found)[0] == pytest.approx(steps[4], abs=0.001)
    nowhere = searched(lambda level: False, first=16.0, first_stride=2 ** (1 / 8))
    assert nowhere.capacity == 0.0
    assert 1.0 <= levels(nowhere)[0] < 2.0


def test_a_level_probed_before_is_where_the_search_begins() -> None:
    found = searched(lambda level: level <= 11.3, COARSE, first=12.0)
    assert levels(found) == pytest.approx([6.0, 8.485, 10.09, 11.0, 12.0], abs=0.01)
    assert 4.0 not in levels(found)


def test_in_a_closed_loop_every_level_is_a_whole_number_and_no_two_are_the_same() -> None:
    for most, started in ((2, 5), (3, 7), (11, 4), (0, 9)):
        found = searched(
            lambda level, most=most: level <= most,  # type: ignore[misc]
            workload=OPEN.at_concurrency(started),
            first_stride=2 ** (1 / 8),
        )
        assert all(level == round(level) >= 1 for level in levels(found))
        assert len({*levels(found)}) == len(levels(found))
        best = found.at_capacity
        assert (best.level if best else 0) == most


def test_an_interval_reaches_from_what_surely_holds_to_what_surely_does_not() -> None:
    nothing = Scripted(lambda w: [100.0] * len(w.requests)).measure(offered_load(OPEN, SLA))
    met, open_, broken = Verdict.MET, Verdict.UNDECIDED, Verdict.BROKEN

    def between(*probed: tuple[float, Verdict]) -> tuple[float, float] | None:
        return interval([Probe(level, v, v is met, nothing) for level, v in probed])

    assert between((1.0, met), (2.0, met), (3.0, open_), (4.0, broken), (5.0, broken)) == (2, 4)
    assert between((1.0, broken), (2.0, met), (4.0, broken)) == (2.0, 4.0)
    assert between((1.0, met), (2.0, open_)) is None
    assert between((1.0, open_), (2.0, broken)) is None
    assert between((1.0, broken), (2.0, met)) is None
    assert between() is None


def test_on_a_noisy_engine_an_undecided_level_ends_no_interval() -> None:
    def latencies(at: Workload) -> list[float | None]:
        missing = 0 if at.request_rate < 7 else 20 if at.request_rate < 15 else 2
        return [2000.0 if missing and n % missing == 0 else 100.0 for n in range(len(at.requests))]

    long = Workload(name="chat", requests=tuple(Request(n / 4, 64, 8) for n in range(240)))
    asked = Scripted(latencies)
    prober = Prober(asked, (long,), SLA, NOISY)
    found = search(prober, asked.measure(saturating_load(long, NOISY)))
    verdicts = {round(p.level, 2): (p.verdict, p.holds) for p in found.probes}
    assert verdicts[8.0] == (Verdict.UNDECIDED, True)
    low, high = found.interval or (0.0, 0.0)
    assert (low, high > 15) == (4.0, True)
    assert 14 < found.capacity < 16


def test_what_was_not_searched_says_so() -> None:
    nothing = Scripted(lambda w: [100.0] * len(w.requests)).measure(offered_load(OPEN, SLA))
    assert Capacity(0.0, None, nothing).unsearched
    assert not found(engine(0.1)).unsearched
    assert not found(engine(11.3), sla="output_throughput>=1").unsearched


@given(
    gaps_s=st.lists(st.floats(0.01, 2.0), min_size=3, max_size=20),
    lengths=st.lists(st.tuples(st.integers(1, 1500), st.integers(1, 200)), min_size=1),
    limits=st.tuples(st.integers(20, 2000), st.integers(20, 2000)).map(sorted),
    metric=st.sampled_from(["p95_ttft_ms", "median_ttft_ms", "p90_tpot_ms", "mean_tpot_ms"]),
    max_num_seqs=st.sampled_from([1, 4, 256]),
)
def test_a_looser_promise_never_lowers_the_capacity(
    gaps_s: list[float],
    lengths: list[tuple[int, int]],
    limits: list[int],
    metric: str,
    max_num_seqs: int,
) -> None:
    """On the simulated engine. A promise on one latency leaves the length of a run as it is."""
    requests = tuple(
        Request(sum(gaps_s[:number]), *lengths[number % len(lengths)])
        for number in range(len(gaps_s))
    )
    workload = Workload(name="t", requests=requests)
    config = {**DEFAULT, "max_num_seqs": max_num_seqs}
    with TWIN.launch(config) as launched:
        tight, loose = (
            find_capacity(launched, (workload,), parse_sla(f"{metric}<={limit}")).capacity
            for limit in limits
        )
    assert tight <= loose
