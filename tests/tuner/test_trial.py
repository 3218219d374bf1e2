import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from objectives import Load, Measurement, Quadrant, RequestResult, Verdict
from results.record import TrialRecord
from runners import Failure, FailureKind
from runners.replay import Answer, ReplayRunner
from search_spaces import Config
from tests.tuner.conftest import MakeLoop, served
from tests.tuner.engines import in_line, run
from tuner.presets import promises
from tuner.problem import Case, Problem
from tuner.race import Race
from tuner.records import OF_A_PROBE, records, ruled_out
from tuner.trial import try_out


@pytest.fixture
def problem(make_loop: MakeLoop) -> Problem:
    return make_loop(hourly_cost=2.0).problem


@pytest.fixture
def of_all(make_loop: MakeLoop) -> Problem:
    return make_loop(objective="all").problem


def unanswered(measurement: Measurement) -> Measurement:
    results = tuple(replace(r, ttft_ms=None, e2el_ms=None) for r in measurement.results)
    return replace(measurement, results=results)


def test_a_trial_is_measured_under_both_loads_on_one_launch(
    problem: Problem, replay: ReplayRunner
) -> None:
    config = problem.space.default()
    outcome = try_out(problem, replay, config)
    record = records(problem, outcome, config, number=7, origin="default", launch_id=3)[0]
    assert replay.launched == [config]
    assert (record.number, record.launch_id, record.objective) == (7, 3, "chat")
    assert record.loads.keys() == {"offered", "capacity"}
    assert record.loads["offered"]["request_rate"] == pytest.approx(4.0)
    assert {path: list(loads) for path, loads in outcome.requests().items()} == {
        "chat": ["offered", "capacity"]
    }
    assert record.quadrants.keys() == set(Quadrant)
    assert record.quadrants[Quadrant.INTERACTIVE] == record.sla


def test_engine_time_is_that_of_the_launch_and_of_every_run(
    problem: Problem, replay: ReplayRunner
) -> None:
    only_offered = replace(problem, capacity=False)
    config = problem.space.default()
    workload = problem.cases[0].workload
    run_s = served(config, Load(workload=workload)).duration_s
    assert try_out(only_offered, replay, config).engine_s == 60.0 + run_s
    assert try_out(problem, replay, config).engine_s > 60.0 + 5 * run_s


def test_gpus_needed_headroom_and_cost_follow_from_the_capacity(
    problem: Problem, replay: ReplayRunner
) -> None:
    config = problem.space.default()
    outcome = try_out(problem, replay, config)
    record = records(problem, outcome, config, number=0, origin="default", launch_id=0)[0]
    capacity = record.loads["capacity"]
    found = capacity["capacity"]
    # Four replicas of one GPU each; 4 requests/s of 8 output tokens; 2 USD per GPU and hour.
    assert capacity["capacity_per_gpu"] == found / 4
    assert capacity["gpus_needed"] == -(-4.0 // (found / 4))
    assert capacity["headroom"] == pytest.approx(1 - 4.0 / found)
    cost = 2.0 * 4 / (3600 * found * 8) * 1e6
    assert capacity["cost_per_million_output_tokens_usd"] == pytest.approx(cost)


def test_the_probes_are_kept_in_the_order_of_their_rates(
    problem: Problem, replay: ReplayRunner
) -> None:
    config = problem.space.default()
    outcome = try_out(problem, replay, config)
    record = records(problem, outcome, config, number=0, origin="default", launch_id=0)[0]
    probes = record.loads["capacity"]["probes"]
    levels = [probe["level"] for probe in probes]
    assert levels == sorted(levels)
    assert [probe["holds"] for probe in probes] == [
        level <= record.loads["capacity"]["capacity"] for level in levels
    ]


def test_a_second_failure_of_an_engine_that_died_is_an_answer(problem: Problem) -> None:
    died = Failure(FailureKind.DIED, "illegal memory access")
    runner = ReplayRunner(measurements=lambda config, load: died)
    outcome = try_out(problem, runner, problem.space.default())
    assert (outcome.failure, outcome.engine_s, len(runner.launched)) == (died, 120.0, 2)
    record = records(
        problem, outcome, problem.space.default(), number=0, origin="default", launch_id=0
    )[0]
    assert record.failure == {"kind": "died", "detail": "illegal memory access"}
    assert (record.answered, record.loads, record.sla) == (True, {}, {})


def test_where_one_workload_gets_no_answer_the_others_are_measured_all_the_same(
    of_all: Problem,
) -> None:
    def mute_on_chat(config: Config, load: Load) -> Answer:
        found = served(config, load)
        return unanswered(found) if load.workload.name == "chat" else found

    config = of_all.space.default()
    outcome = try_out(of_all, ReplayRunner(measurements=mute_on_chat), config)
    kept = records(of_all, outcome, config, number=0, origin="default", launch_id=0)
    assert {r.objective: (r.failure or {}).get("kind") for r in kept} == {
        **{"rag": None, "chat": "nothing completed", "reasoning": None, "summarize": None}
    }


def test_what_was_measured_before_an_engine_died_stays_measured(of_all: Problem) -> None:
    def dies_on_reasoning(config: Config, load: Load) -> Answer:
        if load.workload.name == "reasoning":
            return Failure(FailureKind.DIED, "killed")
        return served(config, load)

    config = of_all.space.default()
    outcome = try_out(of_all, ReplayRunner(measurements=dies_on_reasoning), config)
    kept = records(of_all, outcome, config, number=0, origin="default", launch_id=0)
    assert [r.failure is None for r in kept] == [True, True, False, False]


def test_a_config_that_breaks_a_rule_has_records_but_no_launch(make_loop: MakeLoop) -> None:
    problem = make_loop(objective="all").problem
    config = problem.space.within({"max_num_seqs": 1024, "max_num_batched_tokens": 256})
    kept = ruled_out(problem, config, number=4)
    assert [(r.number, r.answered, (r.failure or {})["kind"]) for r in kept] == [
        (4, False, "rule")
    ] * 4


def against(problem: Problem, *, exact: bool = True, **figures: float) -> Callable[[Case], Race]:
    """A race against one config that is best at everything."""
    loads: Any = {
        "offered": {"p95_ttft_ms": figures.get("ttft_ms", 100.0)},
        "capacity": {
            "capacity": figures.get("capacity", 20.0),
            "gpus_needed": 1,
            "output_throughput_per_gpu": figures.get("throughput", 40.0),
        },
    }
    config = problem.space.default()
    best = TrialRecord(
        number=0, objective="chat", config=config, origin="default", loads=loads, launch_id=0
    )

    def race(case: Case) -> Race:
        kept = promises(case.profile)
        return Race(best=dict.fromkeys(Quadrant, best), promises=kept, margin=0.01, exact=exact)

    return race


@dataclass(slots=True)
class InLine:
    """Serves in line, so many requests a second, and keeps what it was asked."""

    most: float
    first_ms: float
    loads: list[Load] = field(default_factory=list)

    def __call__(self, config: Config, load: Load) -> Measurement:
        self.loads.append(load)
        return run(load, in_line(load.workload, self.most, self.first_ms), gpus=4)


def test_a_config_that_has_lost_its_race_is_measured_no_further(problem: Problem) -> None:
    served = InLine(most=0.5, first_ms=6000.0)
    config = problem.space.default()
    outcome = try_out(problem, ReplayRunner(measurements=served), config, against(problem))
    (measured,) = outcome.measured.values()
    assert (measured.stopped, measured.capacity, len(served.loads)) == ("breaks the SLA", None, 1)
    assert 4 <= len(measured.offered.results) == len(measured.offered.completed) < 10
    assert outcome.requests() == {"chat": {"offered": measured.offered}}
    (record,) = records(problem, outcome, config, number=3, origin="sampler", launch_id=3)
    assert (record.stopped_early, record.why_stopped, record.complete, record.failure) == (
        True,
        "breaks the SLA",
        False,
        None,
    )
    assert record.sla["p95_ttft_ms<=500"].verdict is Verdict.BROKEN
    assert record.loads.keys() == {"offered"}


def test_a_config_that_carries_less_is_stopped_with_what_was_found_by_then(
    problem: Problem,
) -> None:
    served = InLine(most=8.0, first_ms=200.0)
    config = problem.space.default()
    outcome = try_out(problem, ReplayRunner(measurements=served), config, against(problem))
    (record,) = records(problem, outcome, config, number=3, origin="sampler", launch_id=3)
    assert record.why_stopped == "later first tokens, less capacity, less throughput"
    assert [round(p["level"], 3) for p in record.loads["capacity"]["probes"]] == [19.8]
    assert not {"capacity", "capacity_per_gpu", "gpus_needed"} & record.loads["capacity"].keys()
    assert record.meets_sla
    assert len(served.loads) == 3
    assert TrialRecord.from_json(record.to_json()) == record


def test_a_level_at_or_above_an_offered_load_that_is_too_much_need_not_be_probed(
    problem: Problem,
) -> None:
    # Breaks its own promise at the offered load, but not those of the other quadrants.
    served = InLine(most=8.0, first_ms=900.0)
    config = problem.space.default()
    outcome = try_out(problem, ReplayRunner(measurements=served), config, against(problem))
    assert outcome.measured["chat"].stopped == ("breaks the SLA, less capacity, less throughput")
    rates = [load.workload.request_rate for load in served.loads]
    assert rates == [pytest.approx(4.0), math.inf]


def test_in_a_closed_loop_there_is_no_level_to_win_by(make_loop: MakeLoop) -> None:
    problem = make_loop(request_rate=None, concurrency=4).problem
    loads: list[Load] = []

    def served(config: Config, load: Load) -> Measurement:
        loads.append(load)
        ttft_ms = 90.0 if (load.workload.concurrency or 0) <= 16 else 900.0
        return run(load, [ttft_ms] * len(load.workload.requests), gpus=4)

    config = problem.space.default()
    outcome = try_out(problem, ReplayRunner(measurements=served), config, against(problem))
    assert outcome.measured["chat"].stopped == ""
    in_flight = [load.workload.concurrency for load in loads]
    assert in_flight[:6] == [4, None, 4, 8, 16, 32]


def test_a_config_of_which_every_request_fails_is_no_stopped_trial(problem: Problem) -> None:
    def refused(config: Config, load: Load) -> Measurement:
        """Each request fails at once, and whoever watches sees it."""
        watch = load.watch() if load.watch else None
        results = tuple(RequestResult(r.arrival_s, 64, 8) for r in load.workload.requests)
        over = [watch.over(r, r.arrival_s) for r in results if watch]
        assert any(over)
        return Measurement(results=results, duration_s=1.0, gpus=4)

    config = problem.space.default()
    race = against(problem, exact=False)
    outcome = try_out(problem, ReplayRunner(measurements=refused), config, race)
    assert outcome.unanswered["chat"].kind is FailureKind.NOTHING_COMPLETED


def test_a_batch_that_waits_is_searched_below_and_above(make_loop: MakeLoop) -> None:
    problem = make_loop().problem
    waiting = {**problem.space.default(), "batch_wait_timeout_ms": 50}

    def served(config: Config, load: Load) -> Measurement:
        """Breaks the promise below six requests a second: no batch fills in time."""
        rate = load.workload.request_rate
        ttft_ms = 100.0 if 6 <= rate <= 11 or math.isinf(rate) else 900.0
        return run(load, [ttft_ms] * len(load.workload.requests), gpus=4)

    runner = ReplayRunner(measurements=served)
    (found,) = records(
        problem,
        try_out(problem, runner, waiting),
        waiting,
        number=0,
        origin="sampler",
        launch_id=0,
    )
    assert found.loads["capacity"]["capacity"] == pytest.approx(11.0, rel=0.01)
    assert found.loads["capacity"]["broken_below"] == [pytest.approx(4.0)]
    plain = problem.space.default()
    outcome = try_out(problem, runner, plain)
    (other,) = records(problem, outcome, plain, number=0, origin="sampler", launch_id=0)
    assert other.loads["capacity"]["capacity"] == 0.0


def test_a_probe_is_kept_with_its_verdict_and_what_it_took(
    problem: Problem, replay: ReplayRunner
) -> None:
    config = problem.space.default()
    outcome = try_out(problem, replay, config)
    (record,) = records(problem, outcome, config, number=0, origin="default", launch_id=0)
    capacity = outcome.measured["chat"].capacity
    assert capacity is not None
    for kept, probe in zip(record.loads["capacity"]["probes"], capacity.probes, strict=True):
        metrics = probe.measurement.metrics
        assert kept == {
            "level": probe.level,
            "holds": probe.holds,
            "verdict": str(probe.verdict),
            "requests": len(probe.measurement.results),
            "duration_s": probe.measurement.duration_s,
            **{name: metrics.get(name) for name in OF_A_PROBE},
        }
    assert record.loads["capacity"]["broken_below"] == []


def test_only_a_noisy_engine_has_intervals(problem: Problem) -> None:
    def scattered(config: Config, load: Load) -> Measurement:
        ttfts_ms = [100.0 + 7 * (n % 13) for n in range(len(load.workload.requests))]
        return run(load, ttfts_ms, gpus=4)

    def kept(asked: Problem) -> TrialRecord:
        config = asked.space.default()
        outcome = try_out(asked, ReplayRunner(measurements=scattered), config)
        return records(asked, outcome, config, number=0, origin="default", launch_id=0)[0]

    exact, noisy = kept(problem), kept(replace(problem, noiseless=False))
    assert [load for load in exact.loads.values() if "intervals" in load] == []
    low_ms, high_ms = noisy.interval("offered", "p95_ttft_ms") or (0.0, 0.0)
    assert low_ms <= (noisy.metric("offered", "p95_ttft_ms") or 0.0) <= high_ms
    assert {*noisy.loads["offered"]["intervals"]} == {
        *("p95_ttft_ms", "p95_tpot_ms", "p95_e2el_ms")
    }
    low, high = noisy.interval("capacity", "output_throughput_per_gpu") or (0.0, 0.0)
    assert low < high
