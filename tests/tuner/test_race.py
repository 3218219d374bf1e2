import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objectives import Bound, Load, Measurement, Quadrant, Request, Workload, parse_sla
from results.record import TrialRecord
from tests.tuner.engines import run
from tuner.race import Race

LIVE, INTERACTIVE, ECONOMY, BULK = Quadrant
MINUTE = Workload(name="minute", requests=tuple(Request(n / 10, 64, 8) for n in range(600)))
AT_ONCE = MINUTE.at_rate(math.inf)
LATE = parse_sla("p95_ttft_ms<=1000")
LATER = parse_sla("p95_ttft_ms<=2000")
FAR = parse_sla("p95_ttft_ms<=60000")
ONE_GPU_EACH = {"tensor_parallel_size": 1, "data_parallel_size": 4}
PAIRS = {"tensor_parallel_size": 2, "data_parallel_size": 2}
ALL_FOUR = {"tensor_parallel_size": 4, "data_parallel_size": 1}


def best(
    *,
    ttft_ms: float | None = 400.0,
    capacity: float | None = 40.0,
    gpus_needed: int | None = 2,
    throughput: float | None = 100.0,
) -> TrialRecord:
    loads: Any = {
        "offered": {"p95_ttft_ms": ttft_ms},
        "capacity": {
            "capacity": capacity,
            "gpus_needed": gpus_needed,
            "output_throughput_per_gpu": throughput,
        },
    }
    return TrialRecord(
        number=0, objective="chat", config={}, origin="default", loads=loads, launch_id=0
    )


def race(
    promises: Mapping[Quadrant, tuple[Bound, ...]] | None = None,
    *,
    among: Sequence[Quadrant] = tuple(Quadrant),
    of: TrialRecord | None = None,
    **options: Any,
) -> Race:
    """Against one config that is best at everything; no promise of its own is hard to keep."""
    kept = {q: (promises or {}).get(q, FAR) for q in among}
    return Race(
        best=dict.fromkeys(among, of if of is not None else best()),
        promises=kept,
        **{"margin": 0.01, **options},
    )


def offered(
    against: Race, ttfts_ms: Sequence[float | None], workload: Workload = MINUTE
) -> Measurement:
    """The offered load as a trial runs it, until the race is lost."""
    watch = against.watch_offered(workload)
    load = Load(workload=workload, watch=None if watch is None else lambda: watch)
    found = run(load, ttfts_ms)
    if not against.lost:
        against.offered(found)
    return found


def every(ttft_ms: float, count: int = 600) -> list[float | None]:
    return [ttft_ms] * count


def answered(measurement: Measurement) -> int:
    return len(measurement.completed)


def test_without_opponents_nothing_is_watched_and_nothing_lost() -> None:
    alone = Race()
    assert alone.watch_offered(MINUTE) is None
    assert alone.watch_saturated(AT_ONCE, 4) is None
    offered(alone, every(9000.0))
    assert (alone.lost, alone.why, alone.open) == (False, "", [])
    assert alone.level(PAIRS, 20.0, 4) is None


def test_a_promise_surely_broken_closes_its_quadrant_and_ends_the_run_when_all_are() -> None:
    against = race(dict.fromkeys(Quadrant, LATE))
    found = offered(against, every(1200.0))
    # Thirty of 600 may miss.
    assert answered(found) == 31
    assert against.closed == dict.fromkeys(Quadrant, "promise")
    assert (against.lost, against.why, against.open) == (True, "breaks the SLA", [])


def test_a_run_goes_on_while_any_quadrant_is_open() -> None:
    against = race({LIVE: LATE, ECONOMY: LATE})
    found = offered(against, every(1200.0))
    assert answered(found) == 600
    assert against.closed == {LIVE: "promise", INTERACTIVE: "first token", ECONOMY: "promise"}
    assert (against.lost, against.open) == (False, [BULK])
    assert against.why == "breaks the SLA, later first tokens"


def test_a_quadrant_without_a_best_config_is_closed_by_its_promise_alone() -> None:
    nobody = Race(
        best=dict.fromkeys(Quadrant), promises=dict.fromkeys(Quadrant, LATE), margin=0.01
    )
    assert not nobody.lost
    offered(nobody, every(900.0))
    assert (nobody.closed, nobody.level(PAIRS, 20.0, 4)) == ({}, None)
    nobody.saturated(run(Load(workload=AT_ONCE), every(9000.0)))
    assert nobody.closed == {}
    offered(nobody, every(1200.0))
    assert nobody.lost


def test_later_first_tokens_than_the_best_ones_close_the_quadrant_they_decide() -> None:
    against = race(among=[INTERACTIVE])
    found = offered(against, [300.0, 405.0] * 300)
    assert answered(found) < 100
    assert (against.closed, against.why) == ({INTERACTIVE: "first token"}, "later first tokens")


@pytest.mark.parametrize("ttft_ms", [390.0, 400.0, 404.0])
def test_first_tokens_as_early_or_within_a_tie_are_not_stopped(ttft_ms: float) -> None:
    against = race(among=[INTERACTIVE])
    assert answered(offered(against, every(ttft_ms))) == 600
    assert not against.lost


@given(
    st.lists(st.floats(100, 900), min_size=20, max_size=90),
    st.floats(0.9, 1.1),
)
def test_a_trial_whose_own_figure_is_tied_with_the_best_is_never_stopped(
    ttfts_ms: list[float], factor: float
) -> None:
    workload = replace(MINUTE, requests=MINUTE.requests[: len(ttfts_ms)])
    own = run(Load(workload=workload), ttfts_ms).metrics["p95_ttft_ms"]
    assert own is not None
    against = race(among=[INTERACTIVE], of=best(ttft_ms=own * factor))
    offered(against, ttfts_ms, workload)
    if own <= own * factor * 1.01:
        assert not against.lost


def test_a_promise_may_break_by_the_verdict_on_the_whole_run() -> None:
    against = race({BULK: parse_sla("mean_ttft_ms<=1000")}, among=[BULK])
    found = offered(against, every(1200.0))
    assert answered(found) == 600
    assert (against.lost, against.why) == (True, "breaks the SLA")


def test_on_a_noisy_engine_what_is_only_a_little_worse_is_not_stopped() -> None:
    noisy = race(dict.fromkeys(Quadrant, LATE), exact=False, margin=0.1)
    offered(noisy, every(1090.0))
    assert noisy.closed.get(INTERACTIVE) is not None
    clear = race(dict.fromkeys(Quadrant, LATE), exact=False, margin=0.1)
    found = offered(clear, every(1200.0))
    assert answered(found) < 100
    assert clear.lost


def test_on_a_noisy_engine_a_promise_is_eased_by_the_margin_while_the_run_goes_on() -> None:
    eased = race({BULK: LATE}, among=[BULK], exact=False, margin=0.1)
    watch = eased.watch_offered(MINUTE)
    assert watch is not None
    load = Load(workload=MINUTE, watch=lambda: watch)
    assert answered(run(load, every(1090.0))) == 600
    assert eased.closed == {}
    first = race(among=[INTERACTIVE], exact=False, margin=0.1)
    assert answered(offered(first, every(435.0))) == 600
    assert not first.lost
    assert answered(offered(first, every(450.0))) < 100
    assert first.why == "later first tokens"


@pytest.mark.parametrize(
    ("config", "least"),
    [
        # Of the best, 40 req/s, a tie of 1 % less; or fewer GPUs than its two for 20 req/s.
        (ONE_GPU_EACH, 40 * 0.99),
        (PAIRS, 40 * 0.99),
        (ALL_FOUR, 40 * 0.99),
    ],
)
def test_a_capacity_must_be_tied_with_the_best(config: Any, least: float) -> None:
    assert race(among=[LIVE]).level(config, 20.0, 4) == pytest.approx(least)


@pytest.mark.parametrize(
    ("needed", "config", "least"),
    [
        # One GPU fewer: three of four replicas must carry 20 req/s, so four carry 26.7.
        (4, ONE_GPU_EACH, 20 * 4 / 3),
        # Two fewer would take 40: a tie of its own capacity, with which three carry it, is less.
        (3, ONE_GPU_EACH, 37.62),
        # As few as the best needs, 2 of 4 replicas, carry 20 req/s at 40; one alone at 80.
        (2, ONE_GPU_EACH, 40.0),
        # Nothing is below one GPU, and one of four replicas carries it at 80.
        (1, ONE_GPU_EACH, 80.0),
        # In pairs: fewer than four are one pair of two, which must carry it alone.
        (4, PAIRS, 37.62),
        (3, PAIRS, 40.0),
        (2, PAIRS, 40.0),
        (1, PAIRS, math.inf),
        # One replica of four GPUs needs four.
        (4, ALL_FOUR, 37.62),
        (3, ALL_FOUR, math.inf),
    ],
)
def test_fewer_gpus_take_a_capacity_that_depends_on_the_replicas(
    needed: int, config: Any, least: float
) -> None:
    against = race(among=[ECONOMY], of=best(capacity=38.0, gpus_needed=needed))
    assert against.level(config, 20.0, 4) == pytest.approx(least)


def test_the_least_of_all_open_quadrants_is_the_level_to_probe() -> None:
    of = best(capacity=38.0, gpus_needed=4)
    assert race(of=of).level(ONE_GPU_EACH, 20.0, 4) == pytest.approx(20 * 4 / 3)
    without = race(of=of)
    without.closed[ECONOMY] = "promise"
    assert without.level(ONE_GPU_EACH, 20.0, 4) == pytest.approx(37.62)
    without.closed[LIVE] = "promise"
    assert without.level(ONE_GPU_EACH, 20.0, 4) is None


@pytest.mark.parametrize("of", [best(capacity=None, gpus_needed=None), best(capacity=0.0)])
def test_without_a_best_capacity_there_is_no_level(of: TrialRecord) -> None:
    assert race(of=of).level(ONE_GPU_EACH, 20.0, 4) is None


def test_without_gpus_to_count_capacity_decides() -> None:
    of = best(capacity=38.0, gpus_needed=None)
    assert race(among=[ECONOMY], of=of).level(PAIRS, 20.0, 4) == pytest.approx(37.62)


def test_a_server_of_which_nothing_is_known_is_one_replica() -> None:
    of = best(capacity=38.0, gpus_needed=1)
    assert race(among=[ECONOMY], of=of).level({}, 20.0, 1) == pytest.approx(37.62)


def test_too_little_capacity_closes_what_is_decided_by_it() -> None:
    against = race()
    against.below()
    assert against.closed == {LIVE: "capacity", ECONOMY: "capacity"}
    assert (against.lost, against.open) == (False, [INTERACTIVE, BULK])
    two = race(among=[LIVE, ECONOMY])
    two.below()
    assert (two.lost, two.why) == (True, "less capacity")


def at_once(against: Race, tokens_per_s: float, count: int = 600) -> Measurement:
    """All requests at once, served in a row by four GPUs, until the race is lost."""
    watch = against.watch_saturated(AT_ONCE, 4)
    load = Load(workload=AT_ONCE, watch=None if watch is None else lambda: watch)
    ttfts_ms = [1000 * 8 * (n + 1) / tokens_per_s - 70 for n in range(count)]
    found = run(load, ttfts_ms, gpus=4)
    against.saturated(found)
    return found


def test_throughput_below_the_best_closes_bulk_and_ends_the_run_where_nothing_else_is_open() -> (
    None
):
    # 600 answers of 8 tokens at 4 x 100 tokens/s less a tie are over in 12.1 s.
    alone = race(among=[BULK])
    found = at_once(alone, 200.0)
    assert found.duration_s == pytest.approx(12.15, abs=0.05)
    assert (alone.closed, alone.why) == ({BULK: "throughput"}, "less throughput")
    others = race()
    assert answered(at_once(others, 200.0)) == 600
    assert (others.closed, others.lost) == ({BULK: "throughput"}, False)


@pytest.mark.parametrize("tokens_per_s", [396.5, 400.0, 800.0])
def test_throughput_as_high_or_within_a_tie_is_not_stopped(tokens_per_s: float) -> None:
    against = race(among=[BULK])
    assert answered(at_once(against, tokens_per_s)) == 600
    assert not against.lost


def test_a_throughput_closed_already_is_closed_for_its_first_reason() -> None:
    against = race()
    against.closed[BULK] = "promise"
    at_once(against, 1.0)
    assert against.closed == {BULK: "promise"}


def test_every_reason_is_told_once() -> None:
    against = race({LIVE: LATE, ECONOMY: LATE})
    offered(against, every(1200.0))
    at_once(against, 200.0)
    assert against.lost
    assert against.why == "breaks the SLA, later first tokens, less throughput"


def test_where_only_capacity_is_left_less_of_it_is_lost() -> None:
    against = race({INTERACTIVE: LATE, BULK: LATE})
    offered(against, every(1200.0))
    assert not against.lost
    against.below()
    assert (against.lost, against.why) == (True, "breaks the SLA, less capacity")
