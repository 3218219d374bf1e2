"""What the loop makes of configs that cannot be served and of a host that fails."""

from dataclasses import replace
from itertools import count
from typing import Any

import pytest
from optuna.trial import TrialState

from objectives import Load, Measurement
from results.pareto import front
from results.quadrants import winner
from results.record import TrialRecord
from runners import FailureKind
from runners.replay import Answer, ReplayRunner
from search_spaces import Config, Rule
from tests.tuner.conftest import MakeLoop, configs, refuses, served
from tuner.errors import BadInput, EngineTrouble

SERVED_BY_NONE = [
    FailureKind.REFUSED,
    FailureKind.OUT_OF_MEMORY,
    FailureKind.NEVER_READY,
    FailureKind.DIED,
]


def sharded(config: Config) -> bool:
    return config["tensor_parallel_size"] != 1


@pytest.mark.parametrize("kind", SERVED_BY_NONE)
def test_a_config_that_cannot_be_served_is_told_the_worst_so_far_and_every_constraint_broken(
    kind: FailureKind, make_loop: MakeLoop
) -> None:
    loop = make_loop(refuses(kind, sharded), trials=4, seed=1)
    loop.run()
    failed = [bool(r.failure) for r in loop.records]
    assert failed == [sharded(r.config) for r in loop.records] == [False, True, False, True]
    assert loop.records[1].failure == {"kind": str(kind), "detail": "said so"}
    trials = loop.studies[0].trials
    measured = [trials[0].values, trials[2].values]
    assert [t.state for t in trials] == [TrialState.COMPLETE] * 4
    assert trials[1].values == trials[0].values
    assert trials[3].values == [min(v[0] for v in measured), max(v[1] for v in measured)]
    for trial in (trials[1], trials[3]):
        worst = [("p95_tpot_ms<=40", 3.0), ("p95_ttft_ms<=500", 3.0)]
        assert list(trial.constraints.items()) == worst


def test_a_config_that_completes_nothing_is_told_the_same_way(make_loop: MakeLoop) -> None:
    def stuck(config: Config, load: Load) -> Answer:
        found = served(config, load)
        if not sharded(config):
            return found
        unanswered = tuple(
            type(r)(r.arrival_s, r.input_tokens, r.output_tokens) for r in found.results
        )
        return Measurement(results=unanswered, duration_s=found.duration_s, gpus=4)

    loop = make_loop(ReplayRunner(measurements=stuck), trials=2)
    loop.run()
    default, preset = loop.studies[0].trials
    assert (loop.records[1].failure or {})["kind"] == "nothing completed"
    assert preset.values == default.values
    assert set(preset.constraints.values()) == {3.0}


def test_a_failure_before_any_measurement_is_told_values_no_measurement_reaches(
    make_loop: MakeLoop,
) -> None:
    loop = make_loop(refuses(FailureKind.REFUSED, lambda c: not sharded(c)), trials=2)
    loop.run()
    assert loop.studies[0].trials[0].values == [0.0, 1e6]
    assert loop.records[1].failure is None


def test_what_could_not_be_served_is_in_no_front_and_wins_nothing(make_loop: MakeLoop) -> None:
    loop = make_loop(refuses(FailureKind.DIED, sharded), trials=8)
    loop.run()
    failed = {r.number for r in loop.records if r.failure}
    case = loop.problem.cases[0].profile
    on_front = {r.number for r in front(loop.records, case.values(capacity=True))}
    won = {
        found.number
        for quadrant in loop.best()
        if (found := winner(loop.records, quadrant, loop.selection))
    }
    assert failed
    assert on_front
    assert won
    assert failed.isdisjoint(on_front | won)


@pytest.mark.parametrize("kind", [FailureKind.NEVER_READY, FailureKind.DIED])
def test_an_engine_that_was_never_ready_or_died_is_tried_once_more(
    kind: FailureKind, make_loop: MakeLoop
) -> None:
    launches = count()
    runner = refuses(kind, lambda config: next(launches) == 0)
    loop = make_loop(runner, trials=1)
    loop.run()
    assert configs(loop.records) == [dict(runner.launched[0])]
    assert runner.launched[0] == runner.launched[1]
    assert len(runner.launched) == 2
    assert loop.records[0].failure is None


@pytest.mark.parametrize("kind", [FailureKind.REFUSED, FailureKind.OUT_OF_MEMORY])
def test_a_refused_config_is_not_tried_again(kind: FailureKind, make_loop: MakeLoop) -> None:
    runner = refuses(kind, lambda config: True)
    make_loop(runner, trials=2).run()
    assert runner.launched == [config for _, config in make_loop().problem.first[:2]]


def test_proposals_that_break_a_rule_launch_nothing_and_do_not_count(make_loop: MakeLoop) -> None:
    runner = ReplayRunner(measurements=served)
    # Half of this range breaks max_num_batched_tokens >= max_num_seqs.
    options: dict[str, Any] = {
        "set": ["max_num_batched_tokens=512"],
        "range": ["max_num_seqs=256:1024"],
    }
    loop = make_loop(runner, trials=6, load="offered", **options)
    loop.run()
    answered = [r for r in loop.records if r.answered]
    ruled_out = [r for r in loop.records if not r.answered]
    assert len(answered) == 6
    assert ruled_out
    assert runner.launched == [r.config for r in answered]
    for record in ruled_out:
        assert record.failure == {
            "kind": "rule",
            "detail": "`max_num_batched_tokens >= max_num_seqs` must hold: "
            "a step must be able to give every running request a token",
        }
        trial = loop.studies[0].trials[record.number]
        assert trial.state is TrialState.COMPLETE
        assert set(trial.constraints.values()) == {3.0}
    lines = loop.folder.trials.read_text().splitlines()
    assert [TrialRecord.from_json(line).number for line in lines] == [r.number for r in answered]


def test_fifty_broken_rules_in_a_row_end_the_study_and_name_the_rule(make_loop: MakeLoop) -> None:
    runner = ReplayRunner(measurements=served)
    loop = make_loop(runner, trials=6)
    never = Rule("never", "so that the test ends", lambda config: False)
    loop.problem = replace(loop.problem, space=replace(loop.problem.space, rules=(never,)))
    with pytest.raises(BadInput) as refused:
        loop.run()
    assert str(refused.value) == (
        "50 proposals in a row broke a rule: `never` must hold: so that the test ends; "
        "widen a --range or change a --set that leaves nothing else."
    )
    assert (runner.launched, len(loop.studies[0].trials)) == ([], 50)


def test_after_a_failure_of_the_host_the_config_is_tried_again(make_loop: MakeLoop) -> None:
    launches = count()
    runner = refuses(FailureKind.HOST, lambda config: next(launches) in (1, 4, 5))
    loop = make_loop(runner, trials=5)
    loop.run()
    plain = make_loop(trials=5)
    plain.run()
    assert configs(loop.records) == configs(plain.records)
    assert [r.origin for r in loop.records] == [r.origin for r in plain.records]
    assert [r.launch_id for r in loop.records] == [0, 1, 2, 3, 4]
    states = {t.number: t.state for t in loop.studies[0].trials}
    assert [n for n, state in states.items() if state is TrialState.FAIL] == [1, 4, 5]
    assert [r.number for r in loop.records] == [0, 2, 3, 6, 7]


def test_three_failures_of_the_host_in_a_row_end_a_study_that_can_be_taken_up_again(
    make_loop: MakeLoop,
) -> None:
    launches = count()
    runner = refuses(FailureKind.HOST, lambda config: next(launches) in (2, 3, 4))
    loop = make_loop(runner, trials=5)
    with pytest.raises(EngineTrouble, match=r"^The host failed 3 times in a row: said so$"):
        loop.run()
    assert len(loop.records) == 2
    again = make_loop(runner, studies=loop.studies, trials=5)
    again.run()
    plain = make_loop(trials=5)
    plain.run()
    assert configs(again.records) == configs(plain.records)


def test_a_budget_that_nothing_uses_up_does_not_go_on_for_ever(make_loop: MakeLoop) -> None:
    loop = make_loop(refuses(FailureKind.REFUSED, lambda config: True), budget="10m")
    loop.run()
    assert len(loop.records) == 50
    assert sum(r.engine_s for r in loop.records) == 0


def test_a_bug_in_a_runner_is_no_answer_and_ends_the_study(make_loop: MakeLoop) -> None:
    def broken(config: Config, load: Load) -> Answer:
        raise ZeroDivisionError

    loop = make_loop(ReplayRunner(measurements=broken), trials=3)
    with pytest.raises(ZeroDivisionError):
        loop.run()
    assert loop.records == []
