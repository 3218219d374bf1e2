import math
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objectives import Load, Measurement, Request, RequestResult, Workload
from objectives.sequential import MissCount
from objectives.sla import holds, parse_sla
from runners.simulated.replica import Replica, StepEvent
from runners.simulated.simulation import Run, simulate

from .cases import uneven

Build = Callable[..., Replica]


def load(*requests: Request, concurrency: int | None = None, patience_s: float = math.inf) -> Load:
    workload = Workload(name="t", requests=requests, concurrency=concurrency)
    return Load(workload=workload, patience_s=patience_s)


def answered(arrival_s: float, ttft_s: float, e2el_s: float, output_tokens: int) -> RequestResult:
    return RequestResult(arrival_s, 4, output_tokens, 1000 * ttft_s, 1000 * e2el_s)


def admitted(log: list[StepEvent]) -> list[int]:
    return [index for event in log for index, _ in event.prefills]


def test_requests_go_to_the_replica_with_the_least_waiting_and_running(replica: Build) -> None:
    logs: list[list[StepEvent]] = [[], []]
    wide = replica(logs[0].append, max_num_seqs=8)
    narrow = replica(logs[1].append, max_num_seqs=1)
    requests = [Request(at_s, 4, 100) for at_s in (0, 0, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5)]
    simulate(load(*requests), [wide, narrow])
    # Request 3 waits at the second replica, which from then on counts 4 x 1 + 1 = 5.
    assert [admitted(log) for log in logs] == [[0, 2, 4, 5, 6, 7], [1, 3, 8]]


def test_requests_that_arrive_all_at_once_are_dealt_out_evenly(replica: Build) -> None:
    replicas = [replica(max_num_seqs=2) for _ in range(3)]
    run = simulate(load(*[Request(0, 4, 2)] * 8), replicas)
    first, second = answered(0, 1, 2, 2), answered(0, 3, 4, 2)
    assert run == Run(results=(first,) * 6 + (second,) * 2, duration_s=4)


def test_a_run_lasts_from_the_first_arrival_to_the_last_token(replica: Build) -> None:
    run = simulate(load(Request(5, 4, 3), Request(6.5, 4, 1)), [replica()])
    assert run == Run((answered(5, 1, 3, 3), answered(6.5, 1.5, 1.5, 1)), duration_s=3)


def test_a_closed_loop_sends_the_next_request_when_one_finishes(replica: Build) -> None:
    requests = [Request(0, 4, tokens) for tokens in (3, 1, 1, 2, 1)]
    run = simulate(load(*requests, concurrency=2), [replica()])
    assert run.results == (
        answered(0, 1, 3, 3),
        answered(0, 1, 1, 1),
        answered(1, 1, 1, 1),
        answered(2, 1, 2, 2),
        answered(3, 1, 1, 1),
    )
    assert run.duration_s == 4


@given(
    sizes=st.lists(st.tuples(st.integers(1, 90), st.integers(1, 30)), min_size=1, max_size=20),
    concurrency=st.integers(1, 8),
    replicas=st.integers(1, 3),
    timeout_ms=st.sampled_from([0.0, 50.0]),
)
def test_a_closed_loop_keeps_exactly_so_many_requests_in_flight(
    replica: Build,
    sizes: list[tuple[int, int]],
    concurrency: int,
    replicas: int,
    timeout_ms: float,
) -> None:
    requests = [Request(0, *size) for size in sizes]
    options = {"max_num_seqs": 3, "blocks": 12, "batch_wait_timeout_ms": timeout_ms}
    run = simulate(
        load(*requests, concurrency=concurrency),
        [replica(steps=uneven(), **options) for _ in range(replicas)],
    )
    arrivals_s = [result.arrival_s for result in run.results]
    ends_s = sorted(r.arrival_s + (r.e2el_ms or math.nan) / 1000 for r in run.results)
    assert arrivals_s == pytest.approx(([0.0] * concurrency + ends_s)[: len(sizes)])
    assert run.duration_s == pytest.approx(ends_s[-1])


def test_more_in_flight_than_there_are_requests_is_all_at_once(replica: Build) -> None:
    requests = [Request(0, 4, 3)] * 3
    closed = simulate(load(*requests, concurrency=9), [replica()])
    assert closed == simulate(load(*requests), [replica()])


@pytest.mark.parametrize("concurrency", [None, 3])
def test_a_run_is_cut_off_when_patience_ends(replica: Build, concurrency: int | None) -> None:
    requests = Request(0, 4, 3), Request(0, 4, 4), Request(0, 4, 9)
    offered = load(*requests, concurrency=concurrency, patience_s=3.5)
    unanswered = RequestResult(0, 4, 4), RequestResult(0, 4, 9)
    run = simulate(offered, [replica()])
    assert run == Run((answered(0, 1, 3, 3), *unanswered), duration_s=3.5)
    assert simulate(replace(offered, patience_s=4), [replica()]).results[1].completed


def test_patience_counts_from_the_last_arrival(replica: Build) -> None:
    run = simulate(load(Request(0, 4, 8), Request(5, 4, 1), patience_s=2), [replica()])
    assert run == Run((RequestResult(0, 4, 8), answered(5, 1, 1, 1)), duration_s=7)


def test_a_request_held_when_patience_ends_has_missed(replica: Build) -> None:
    engine = replica(batch_wait_timeout_ms=5000)
    run = simulate(load(Request(0, 4, 1), patience_s=2), [engine])
    assert run == Run((RequestResult(0, 4, 1),), duration_s=2)


def test_a_hopeless_run_ends_before_its_last_arrivals(replica: Build) -> None:
    bounds = parse_sla("p90_ttft_ms<=2500")
    requests = [Request(at_s, 4, 2) for at_s in range(20)]
    offered = load(*requests)
    early = replace(offered, watch=lambda: MissCount(bounds, 20))
    # Two steps each, one at a time, so request n starts n seconds late; two of 20 may be late. The
    # verdict is looked at after sixteen arrivals.
    run = simulate(early, [replica(max_num_seqs=1)])
    assert [result.completed for result in run.results] == [True] * 7 + [False] * 13
    assert run.duration_s == 15
    assert simulate(offered, [replica(max_num_seqs=1)]).duration_s == 40


@given(
    gaps_s=st.lists(st.floats(0, 0.2), min_size=3, max_size=30),
    limits=st.tuples(st.integers(10, 400), st.integers(8, 40), st.integers(100, 1500)),
    replicas=st.integers(1, 2),
    patience_s=st.sampled_from([0.3, math.inf]),
)
def test_a_run_that_ends_early_comes_to_the_verdict_of_the_full_one(
    replica: Build,
    gaps_s: list[float],
    limits: tuple[int, int, int],
    replicas: int,
    patience_s: float,
) -> None:
    sla = "p90_ttft_ms<={},median_tpot_ms<={},p75_e2el_ms<={}".format(*limits)
    bounds = parse_sla(sla)
    requests = [Request(sum(gaps_s[:i]), 60, 10 + i % 7) for i in range(len(gaps_s))]
    full = load(*requests, patience_s=patience_s)
    early = replace(full, watch=lambda: MissCount(bounds, len(requests)))

    def verdict(offered: Load) -> bool:
        engines = [replica(steps=uneven(), max_num_seqs=3) for _ in range(replicas)]
        run = simulate(offered, engines)
        return holds(bounds, Measurement(results=run.results, duration_s=1, gpus=1))

    assert verdict(early) == verdict(full)
