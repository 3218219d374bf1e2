import pytest
from optuna.trial import TrialState

from results.record import TrialRecord
from tests.tuner.conftest import MakeLoop
from tuner import tell
from tuner.sampler import ask
from tuner.study import Loop

FAILURE = {"kind": "refused", "detail": "said so"}


def failed(loop: Loop, number: int) -> list[TrialRecord]:
    return [
        TrialRecord(
            number=number,
            objective=case.profile.name,
            config=loop.problem.space.default(),
            origin="sampler",
            failure=FAILURE,
        )
        for case in loop.problem.cases
    ]


def test_a_failure_is_told_the_worst_of_each_value_measured_on_the_same_traffic(
    make_loop: MakeLoop,
) -> None:
    loop = make_loop(objective="all", trials=4)
    loop.run()
    for case, record in zip(loop.problem.cases, failed(loop, 4), strict=True):
        goals = case.profile.values(capacity=True)
        mine = [r for r in loop.records if r.objective == case.profile.name]
        columns = [[r.metric(g.load, g.metric) or 0.0 for r in mine] for g in goals]
        worst = [
            (min if goal.direction == "maximize" else max)(column)
            for goal, column in zip(goals, columns, strict=True)
        ]
        constraints = {bound.name: 3.0 for bound in case.profile.sla}
        assert tell.told(loop.problem, case, record, loop.records) == (worst, constraints)


def test_what_earlier_failures_were_told_is_no_measurement(make_loop: MakeLoop) -> None:
    loop = make_loop()
    case, earlier = loop.problem.cases[0], failed(loop, 0)
    found, _ = tell.told(loop.problem, case, failed(loop, 1)[0], earlier)
    assert found == [tell.WORST["maximize"], tell.WORST["minimize"]]


def test_a_trial_told_twice_is_told_once(make_loop: MakeLoop) -> None:
    loop = make_loop(objective="all")
    asked = loop.studies[0]
    trial, _, _ = ask(asked, loop.problem, [], loop.selection)
    kept = failed(loop, trial.number)
    # Cut off before the asking study was told, the others have the trial already.
    tell.tell(loop.studies, asked, trial.number, kept, [], loop.problem)
    with pytest.raises(ValueError, match="Cannot tell a COMPLETE trial"):
        tell.tell(loop.studies, asked, trial.number, kept, [], loop.problem)
    assert [len(study.trials) for study in loop.studies] == [1, 1, 1, 1]


def test_a_trial_of_which_nothing_is_known_keeps_the_numbers_in_step(make_loop: MakeLoop) -> None:
    loop = make_loop(objective="all")
    asked = loop.studies[2]
    trial, _, _ = ask(asked, loop.problem, [], loop.selection)
    tell.fail(loop.studies, asked, trial.number)
    states = [[t.state for t in study.trials] for study in loop.studies]
    assert states == [[TrialState.FAIL]] * 4
