from dataclasses import replace

import pytest

from objectives import Load, Measurement, Quadrant
from runners import Failure, FailureKind
from runners.replay import Answer, ReplayRunner
from search_spaces import Config
from tests.tuner.conftest import MakeLoop, served
from tuner.problem import Problem
from tuner.records import records, ruled_out
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
