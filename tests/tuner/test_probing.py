import math
import random
from dataclasses import replace
from itertools import count

import pytest

from objectives import Measurement, Request, Verdict, Workload, parse_sla
from objectives.sequential import InBatches, MissCount
from tests.tuner.engines import Latencies, Scripted, in_line
from tuner.probing import (
    NOISELESS,
    NOISY,
    Effort,
    Prober,
    latency_bounds,
    offered_load,
    pooled,
    saturating_load,
    worst,
)

SLA = parse_sla("p95_tpot_ms<=40,p95_ttft_ms<=500")
PROMISED_S = 0.5 + 8 * 0.04
"""To a mean answer."""


def draw(tokens: int, requests: int = 120) -> Workload:
    """Four requests a second, to be told from other draws by the length of their prompts."""
    return Workload(
        name="chat", requests=tuple(Request(n / 4, tokens, 8) for n in range(requests))
    )


FIRST, SECOND = draw(64), draw(65)


def prober(
    latencies: Latencies,
    effort: Effort = NOISY,
    *,
    offered: Measurement | None = None,
    draws: tuple[Workload, ...] = (FIRST, SECOND),
) -> tuple[Prober, Scripted]:
    engine = Scripted(latencies)
    return Prober(engine, draws, SLA, effort, offered=offered), engine


def late(every: int, ttft_ms: float = 900.0) -> Latencies:
    """One request of so many misses."""

    def latencies(workload: Workload) -> list[float | None]:
        return [ttft_ms if n % every == 0 else 100.0 for n in range(len(workload.requests))]

    return latencies


def in_turn(*runs: Latencies) -> Latencies:
    """Another answer for each run, the last for all that follow."""
    number = count()

    def latencies(workload: Workload) -> list[float | None]:
        return [*runs[min(next(number), len(runs) - 1)](workload)]

    return latencies


def prompts(engine: Scripted) -> list[list[int]]:
    """Of each run, the draws that it saw in a row, by the length of their prompts."""
    return [
        [*dict.fromkeys(r.input_tokens for r in load.workload.requests)] for load in engine.loads
    ]


def test_a_run_sees_both_draws_at_the_level_the_second_first() -> None:
    found, engine = prober(late(1000))
    found.probe(8.0)
    assert prompts(engine) == [[65, 64]]
    (load,) = engine.loads
    assert len(load.workload.requests) == 240
    assert load.workload.request_rate == pytest.approx(8.0, rel=1e-9)
    assert load.patience_s == pytest.approx(3 * PROMISED_S)


def test_a_run_lasts_three_times_what_the_promise_gives_a_mean_answer() -> None:
    found, engine = prober(late(1000), draws=(draw(64, 3), draw(65, 3)))
    found.probe(40.0)
    (load,) = engine.loads
    assert len(load.workload.requests) == math.ceil(3 * PROMISED_S * 40)
    assert prompts(engine) == [[65, 64]]


def test_in_a_closed_loop_a_run_has_three_answers_in_a_row_for_each_in_flight() -> None:
    draws = tuple(one.at_concurrency(4) for one in (FIRST, SECOND))
    found, engine = prober(late(1000), draws=draws)
    found.probe(100.0)
    found.probe(7.0)
    loads = [(load.workload.concurrency, len(load.workload.requests)) for load in engine.loads]
    assert loads == [(100, 300), (7, 240)]


@pytest.mark.parametrize(
    ("latencies", "verdict"),
    [
        (late(1000), Verdict.MET),
        (late(20), Verdict.MET),
        (late(19), Verdict.BROKEN),
        (lambda w: in_line(w, 3.5), Verdict.BROKEN),
        (lambda w: [100 + 15.0 * n for n in range(len(w.requests))], Verdict.BROKEN),
    ],
    ids=["all early", "one in twenty late", "one in nineteen", "a queue", "later and later"],
)
def test_on_a_noiseless_engine_the_figures_decide(latencies: Latencies, verdict: Verdict) -> None:
    found, engine = prober(latencies, NOISELESS)
    probe = found.probe(4.0)
    assert (probe.level, probe.verdict, probe.holds) == (4.0, verdict, verdict is Verdict.MET)
    assert len(engine.loads) == 1
    assert found.probes == [probe]


def test_on_a_noiseless_engine_a_run_ends_with_the_miss_that_breaks_the_promise() -> None:
    found, engine = prober(late(2), NOISELESS)
    probe = found.probe(4.0)
    watch = engine.loads[0].watch
    assert watch is not None
    assert isinstance(watch(), MissCount)
    # Twelve of 240 may miss; the thirteenth is request 24, after which 25 and 27 were answered.
    answered = [n for n, r in enumerate(probe.measurement.results) if r.completed]
    assert answered == [*range(26), 27]
    assert probe.verdict is Verdict.BROKEN
    assert found.spent == 27 / 240


@pytest.mark.parametrize(
    ("latencies", "verdict"),
    [
        (late(1000), Verdict.MET),
        (late(60), Verdict.MET),
        (late(8), Verdict.BROKEN),
        (lambda w: in_line(w, 3.5), Verdict.BROKEN),
    ],
    ids=["all early", "few late", "many late", "a queue"],
)
def test_on_a_noisy_engine_one_clear_run_is_enough(latencies: Latencies, verdict: Verdict) -> None:
    found, engine = prober(latencies)
    probe = found.probe(4.0)
    assert (probe.verdict, probe.holds) == (verdict, verdict is Verdict.MET)
    assert len(engine.loads) == 1


def test_what_is_not_clear_is_asked_once_more_in_the_other_order_and_pooled() -> None:
    found, engine = prober(late(20))
    probe = found.probe(4.0)
    assert prompts(engine) == [[65, 64], [64, 65]]
    assert (probe.verdict, probe.holds) == (Verdict.UNDECIDED, True)
    assert len(probe.measurement.results) == 480
    assert found.spent == 2.0


def test_a_second_run_may_decide_either_way() -> None:
    better, _ = prober(in_turn(late(20), late(1000)))
    worse, _ = prober(in_turn(late(20), late(7)))
    assert better.probe(4.0).verdict is Verdict.MET
    assert worse.probe(4.0).verdict is Verdict.BROKEN


def test_what_stays_undecided_is_taken_as_its_figures_are() -> None:
    found, _ = prober(late(19))
    probe = found.probe(4.0)
    assert (probe.verdict, probe.holds) == (Verdict.UNDECIDED, False)


def rough(workload: Workload) -> list[float | None]:
    """All within the promise, but early, late and later by turns."""
    ttfts_ms = (10.0, 400.0, 10.0, 400.0, 400.0, 10.0)
    return [ttfts_ms[n // 3 % 6] + n for n in range(len(workload.requests))]


def falling(workload: Workload) -> list[float | None]:
    return [400.0 if n < 40 else 10.0 for n in range(len(workload.requests))]


def test_latency_that_grows_by_chance_is_asked_again() -> None:
    few = (draw(64, 30), draw(65, 30))
    calmed, engine = prober(in_turn(rough, falling), draws=few)
    assert calmed.probe(10.0).verdict is Verdict.MET
    assert len(engine.loads) == 2
    still, _ = prober(rough, draws=few)
    probe = still.probe(10.0)
    assert (probe.verdict, probe.holds) == (Verdict.UNDECIDED, False)
    noiseless, _ = prober(rough, NOISELESS, draws=few)
    assert noiseless.probe(10.0).verdict is Verdict.BROKEN


def test_no_run_is_asked_again_once_the_requests_are_spent() -> None:
    found, engine = prober(late(20), replace(NOISY, requests=3.0))
    verdicts = [found.probe(level).verdict for level in (4.0, 5.0, 6.0)]
    assert verdicts == [Verdict.UNDECIDED] * 3
    assert [load.workload.request_rate for load in engine.loads] == pytest.approx(
        [4.0, 4.0, 5.0, 6.0]
    )
    assert found.spent == 4.0


def measured(latencies: Latencies) -> Measurement:
    """The offered load as a trial measures it first."""
    return Scripted(latencies).measure(offered_load(FIRST, SLA))


def test_the_offered_run_stands_for_a_probe_at_its_own_level_and_at_no_other() -> None:
    offered = measured(late(1000))
    found, engine = prober(late(1000), offered=offered)
    probe = found.probe(FIRST.request_rate)
    assert (probe.measurement, probe.verdict, engine.loads) == (
        replace(offered, duration_s=probe.measurement.duration_s),
        Verdict.MET,
        [],
    )
    assert found.spent == 1.0
    found.probe(8.0)
    assert len(engine.loads) == 1


def test_an_undecided_offered_run_is_followed_by_one_that_sees_both_draws() -> None:
    found, engine = prober(late(1000), offered=measured(late(20)))
    probe = found.probe(FIRST.request_rate)
    assert prompts(engine) == [[64, 65]]
    assert len(probe.measurement.results) == 120 + 240
    assert probe.verdict is Verdict.MET


def test_an_offered_run_too_short_to_build_up_a_load_stands_for_nothing() -> None:
    # The promise gives a mean answer 0.82 s: a probe lasts 2.46 s, these but 2.
    short = Workload(name="chat", requests=tuple(Request(n / 30, 64, 8) for n in range(60)))
    offered = Scripted(late(1000)).measure(offered_load(short, SLA))
    found, engine = prober(late(1000), offered=offered, draws=(short, short))
    found.probe(short.request_rate)
    assert len(engine.loads) == 1


def test_in_a_closed_loop_the_offered_run_stands_for_its_concurrency() -> None:
    closed = FIRST.at_concurrency(4)
    offered = Scripted(late(1000)).measure(offered_load(closed, SLA))
    found, engine = prober(late(1000), offered=offered, draws=(closed, closed))
    assert found.probe(4.0).measurement.results == offered.results
    assert engine.loads == []


def test_a_noisy_run_is_watched_for_its_promises_and_a_queue_a_closed_loop_for_the_first() -> None:
    found, engine = prober(lambda w: in_line(w, 3.9), draws=(draw(64, 300), draw(65, 300)))
    probe = found.probe(4.0)
    watch = engine.loads[0].watch
    assert watch is not None
    assert isinstance(watch(), InBatches)
    assert probe.verdict is Verdict.BROKEN
    assert found.spent < 0.9


def random_queue(seed: int) -> tuple[Latencies, tuple[Workload, Workload]]:
    """Somewhere around what can be carried, with some requests that miss for no reason."""
    rng = random.Random(seed)
    most, missing = 4 / rng.choice([0.95, 1.0, 1.05, 1.1]), rng.choice([0.0, 0.02, 0.05])

    def latencies(workload: Workload) -> list[float | None]:
        free_s, found = 0.0, []
        for request in workload.requests:
            free_s = max(free_s, request.arrival_s) + rng.expovariate(most)
            waited_ms = 1000 * (free_s - request.arrival_s) * rng.choice([0.2, 0.5]) / 10
            found.append(waited_ms + 50 + (900 if rng.random() < missing else 0))
        return [*found]

    return latencies, (draw(64, 300), draw(65, 300))


@pytest.mark.parametrize("seed", range(60))
def test_a_run_that_was_ended_is_never_anything_but_broken(seed: int) -> None:
    latencies, draws = random_queue(seed)
    found, _ = prober(latencies, replace(NOISY, runs=1), draws=draws)
    probe = found.probe(4.0)
    if not all(r.completed for r in probe.measurement.results):
        assert (probe.verdict, probe.holds) == (Verdict.BROKEN, False)


def test_the_worst_verdict_is_that_of_all() -> None:
    assert worst([]) is Verdict.MET
    assert worst([Verdict.MET, Verdict.UNDECIDED]) is Verdict.UNDECIDED
    assert worst([Verdict.UNDECIDED, Verdict.BROKEN, Verdict.MET]) is Verdict.BROKEN


def test_pooled_runs_are_one_run_of_all_their_requests() -> None:
    one, two = measured(late(2)), measured(late(3))
    both = pooled([one, replace(two, engine={"mean_running": 3.0})])
    assert both.results == (*one.results, *two.results)
    assert both.duration_s == one.duration_s + two.duration_s
    assert (both.engine, both.gpus) == ({"mean_running": 3.0}, 1)


def test_a_load_can_break_a_bound_on_latency_alone() -> None:
    bounds = parse_sla("p95_ttft_ms<=500,output_throughput>=9,mean_itl_ms<=30")
    assert [bound.name for bound in latency_bounds(bounds)] == [
        "mean_itl_ms<=30",
        "p95_ttft_ms<=500",
    ]


@pytest.mark.parametrize(("effort", "requests"), [(NOISELESS, 360), (NOISY, 120)])
def test_everything_at_once_is_sent_so_often_that_the_last_do_not_weigh_much(
    effort: Effort, requests: int
) -> None:
    workload = saturating_load(FIRST.at_concurrency(4), effort).workload
    assert (len(workload.requests), workload.concurrency) == (requests, None)
    assert workload.request_rate == math.inf
