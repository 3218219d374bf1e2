from typing import Any

import pytest
from optuna.trial import TrialState

from results.record import TrialRecord
from results.summary import summarise
from runners.replay import ReplayRunner
from tests.tuner.conftest import MakeLoop, configs, served
from tuner import answer
from tuner.study import Loop
from tuner.tell import told


def test_the_default_config_comes_first_then_two_presets_then_the_sampler(
    make_loop: MakeLoop,
) -> None:
    loop = make_loop(trials=5)
    loop.run()
    assert [r.origin for r in loop.records] == ["default", "preset", "preset", *["sampler"] * 2]
    assert configs(loop.records[:3]) == [dict(config) for _, config in loop.problem.first]
    assert [r.number for r in loop.records] == [r.launch_id for r in loop.records] == [*range(5)]
    # A trial of fewer parameters would keep TPE from modelling them together.
    for trial, record in zip(loop.studies[0].trials, loop.records, strict=True):
        assert trial.params == pytest.approx(loop.problem.space.settings(record.config))


def test_a_study_of_one_trial_tries_the_default_config(make_loop: MakeLoop) -> None:
    loop = make_loop(trials=1)
    loop.run()
    assert configs(loop.records) == [dict(loop.problem.space.default())]


def told_values(loop: Loop, record: TrialRecord) -> list[float | None]:
    """A record's own values; of a trial that was stopped, the best complete one's or worse."""
    case = loop.problem.case(record.objective)
    goals = case.profile.values(capacity=True)
    if record.complete:
        return [record.metric(goal.load, goal.metric) for goal in goals]
    earlier = [r for r in loop.records if r.number < record.number]
    return [*told(loop.problem, case, record, earlier)[0]]


def test_the_values_and_constraints_told_are_the_profiles_in_the_order_of_their_names(
    make_loop: MakeLoop,
) -> None:
    loop = make_loop(trials=4)
    loop.run()
    for trial, record in zip(loop.studies[0].trials, loop.records, strict=True):
        assert trial.values == told_values(loop, record)
        assert list(trial.constraints.items()) == [
            (name, record.sla[name].excess) for name in ("p95_tpot_ms<=40", "p95_ttft_ms<=500")
        ]
    assert [d.name for d in loop.studies[0].directions] == ["MAXIMIZE", "MINIMIZE"]
    assert loop.studies[0].metric_names == ["capacity_per_gpu", "p95_ttft_ms"]


def test_a_bulk_study_is_told_saturated_throughput_and_end_to_end_latency(
    make_loop: MakeLoop,
) -> None:
    loop = make_loop(objective="summarize", trials=1)
    loop.run()
    loads = loop.records[0].loads
    assert loop.studies[0].trials[0].values == [
        loads["capacity"]["output_throughput_per_gpu"],
        loads["offered"]["p95_e2el_ms"],
    ]


def test_without_the_capacity_load_the_throughput_at_the_offered_one_is_told(
    make_loop: MakeLoop,
) -> None:
    loop = make_loop(load="offered", trials=1)
    loop.run()
    offered = loop.records[0].loads["offered"]
    assert loop.records[0].loads.keys() == {"offered"}
    told = [offered["output_throughput_per_gpu"], offered["p95_ttft_ms"]]
    assert loop.studies[0].trials[0].values == told


def test_the_same_seed_tries_the_same_configs_and_another_seed_others(make_loop: MakeLoop) -> None:
    def run(seed: int) -> list[dict[str, Any]]:
        loop = make_loop(trials=10, seed=seed, load="offered")
        loop.run()
        return configs(loop.records)

    first, second, other = run(3), run(3), run(4)
    assert first == second
    assert first[:3] == other[:3]
    assert all(mine != theirs for mine, theirs in zip(first[3:], other[3:], strict=True))


def test_a_budget_in_engine_seconds_is_used_up_and_not_exceeded(make_loop: MakeLoop) -> None:
    loop = make_loop(budget="10m", load="offered")
    loop.run()
    engine_s = [r.engine_s for r in loop.records]
    # Another as long as the longest of the last few would not have fitted any more.
    assert sum(engine_s) <= 600 < sum(engine_s) + max(engine_s[-5:])


def test_the_smallest_budget_still_answers_for_the_default_config(make_loop: MakeLoop) -> None:
    loop = make_loop(budget="1s", load="offered")
    loop.run()
    assert [r.origin for r in loop.records] == ["default"]


def test_a_config_known_already_is_not_launched_again(make_loop: MakeLoop) -> None:
    fixed = ["max_num_seqs=64", "max_num_batched_tokens=2048", "batch_wait_timeout_ms=0"]
    options: dict[str, Any] = {
        "set": [*fixed, "long_prefill_token_threshold=0", "gpu_memory_utilization=0.9"],
        "range": ["tensor_parallel_size=1,2"],
    }
    runner = ReplayRunner(measurements=served)
    loop = make_loop(runner, trials=40, load="offered", **options)
    loop.run()
    assert [config["tensor_parallel_size"] for config in runner.launched] == [1, 2]
    assert [r.number for r in loop.records] == [0, 1]
    by_size: dict[int, set[tuple[float, ...]]] = {1: set(), 2: set()}
    for trial in loop.studies[0].trials:
        by_size[trial.params["tensor_parallel_size"]].add(tuple(trial.values))
    assert [len(values) for values in by_size.values()] == [1, 1]


def test_where_figures_vary_a_config_may_be_measured_twice(make_loop: MakeLoop) -> None:
    every = make_loop().problem.space.default()
    fixed = [f"{name}={every[name]}" for name in make_loop().problem.space.searched]
    runner = ReplayRunner(measurements=served)
    noisy = type(runner.description)(
        engine="vllm", version="0", simulated=False, uncertainty="", noiseless=False
    )
    runner.description = noisy
    loop = make_loop(runner, trials=3, load="offered", set=fixed)
    loop.run()
    assert configs(loop.records) == [dict(every)] * 3


def test_winners_are_tried_with_a_knob_back_at_its_default_and_name_what_made_no_difference(
    make_loop: MakeLoop,
) -> None:
    loop = make_loop(trials=34, seed=2, load="offered", allow_scheduler_class=True)
    loop.run()
    found = summarise(_facts(loop), loop.records, loop.selection, wall_s=0.0)
    best = found["best"]["interactive"]
    departures = loop.problem.space.departures(best["config"])
    assert "tensor_parallel_size" in departures
    assert not set(departures) & set(found["unused_knobs"])
    assert found["unused_knobs"]
    assert set(found["unused_knobs"]) <= {
        "max_num_batched_tokens",
        "batch_wait_timeout_ms",
        "long_prefill_token_threshold",
        "gpu_memory_utilization",
    }
    # Each is known from two trials that differ in nothing else.
    for knob in found["unused_knobs"]:
        assert any(
            [name for name in a.config if a.config[name] != b.config[name]] == [knob]
            for a in loop.records
            for b in loop.records
        )


def test_in_all_each_launch_is_measured_on_every_workload_and_told_to_every_study(
    make_loop: MakeLoop,
) -> None:
    runner = ReplayRunner(measurements=served)
    loop = make_loop(runner, objective="all", trials=6)
    loop.run()
    objectives = ["rag", "chat", "reasoning", "summarize"]
    assert [r.objective for r in loop.records] == objectives * 6
    assert [r.number for r in loop.records] == [n for n in range(6) for _ in objectives]
    assert len(runner.launched) == 6
    for index, study in enumerate(loop.studies):
        case = loop.problem.cases[index].profile
        mine = [r for r in loop.records if r.objective == case.name]
        asked = [loop.problem.space.within(trial.params) for trial in study.trials]
        assert asked == configs(mine)
        assert [list(t.constraints) for t in study.trials] == [[b.name for b in case.sla]] * 6
        assert [t.values for t in study.trials] == [told_values(loop, r) for r in mine]


def test_in_all_the_studies_take_turns_to_ask(make_loop: MakeLoop) -> None:
    loop = make_loop(objective="all", trials=8, load="offered")
    loop.run()
    asked = [
        next(i for i, s in enumerate(loop.studies) if "paretune.records" in s.trials[n].user_attrs)
        for n in range(8)
    ]
    assert asked == [0, 1, 2, 3, 0, 1, 2, 3]


def test_every_answered_trial_is_mirrored_once_and_after_it_was_told(make_loop: MakeLoop) -> None:
    loop = make_loop(trials=3, load="offered")
    seen: list[tuple[int, TrialState]] = []
    loop.mirror = lambda record: seen.append(
        (record.number, loop.studies[0].trials[record.number].state)
    )
    loop.run()
    assert seen == [(n, TrialState.COMPLETE) for n in range(3)]


def _facts(loop: Loop) -> Any:
    from tuner.options import Options
    from tuner.spec import resolve

    spec, _ = resolve(
        Options(objective="chat", input_tokens=64, output_tokens=8, requests=60, load="offered")
    )
    return answer.facts("study", spec, loop.problem, loop.runner.description)
