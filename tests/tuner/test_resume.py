"""Killed at any moment, a study goes on as if it had not been."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import optuna
import pytest
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState

from results.record import TrialRecord
from runners import Failure, FailureKind
from runners.replay import ReplayRunner
from tests.tuner.conftest import MakeLoop, served
from tuner.folder import Folder
from tuner.study import Loop

WRITES = (
    "create_new_trial",
    "set_trial_param",
    "set_trial_user_attr",
    "set_trial_system_attr",
    "set_trial_state_values",
)


class Killed(BaseException):
    """The process is gone: nothing of ours may catch it."""


@contextmanager
def killed_before_write(number: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Dies at the given write to storage or folder, counted from 0."""
    left = number

    def dying(write: Callable[..., Any]) -> Callable[..., Any]:
        def written(*args: Any, **kwargs: Any) -> Any:
            nonlocal left
            if left == 0:
                raise Killed
            left -= 1
            return write(*args, **kwargs)

        return written

    with monkeypatch.context() as patch:
        for name in WRITES:
            patch.setattr(InMemoryStorage, name, dying(getattr(InMemoryStorage, name)))
        for name in ("write_requests", "append", "settle"):
            patch.setattr(Folder, name, dying(getattr(Folder, name)))
        yield


def reloaded(studies: Any) -> list[optuna.Study]:
    """The studies as another process would see them."""
    return [optuna.load_study(study_name=s.study_name, storage=s._storage) for s in studies]


def tried(records: list[TrialRecord]) -> list[TrialRecord]:
    """The records without their numbers: a trial that was cut off has used up one."""
    return [replace(record, number=0) for record in records]


def check(loop: Loop, uninterrupted: Loop) -> None:
    """``n`` records, none twice, none lost, and the folder says what the storage says."""
    assert tried(loop.records) == tried(uninterrupted.records)
    asked = [(r.number, r.objective) for r in loop.records]
    assert len(set(asked)) == len(asked)
    lines = loop.folder.trials.read_text().splitlines()
    answered = [r for r in loop.records if r.answered]
    assert [TrialRecord.from_json(line) for line in lines] == answered
    there = {path.name for path in (loop.folder.path / "requests").iterdir()}
    assert there == {f"{r.number}.parquet" for r in answered}
    told = [[(t.state, t.params, t.values) for t in s.trials] for s in loop.studies]
    states = [[state for state, _, _ in trials] for trials in told]
    assert all(s == states[0] for s in states)
    assert {*states[0]} <= {TrialState.COMPLETE, TrialState.FAIL}
    for trials, plain in zip(told, uninterrupted.studies, strict=True):
        complete = [(p, v) for state, p, v in trials if state is TrialState.COMPLETE]
        assert complete == [(t.params, t.values) for t in plain.trials]


def survives_a_kill(
    make_loop: MakeLoop,
    monkeypatch: pytest.MonkeyPatch,
    runner: Callable[[], ReplayRunner],
    writes: range,
    **options: Any,
) -> int:
    """Kills at each of the writes, resumes, checks; how many kills there were."""
    uninterrupted = make_loop(runner(), **options)
    uninterrupted.run()
    kills = 0
    for number in writes:
        loop = make_loop(runner(), **options)
        try:
            with killed_before_write(number, monkeypatch):
                loop.run()
        except Killed:
            kills += 1
        again = make_loop(runner(), studies=reloaded(loop.studies), **options)
        again.run()
        check(again, uninterrupted)
    return kills


def answering() -> ReplayRunner:
    return ReplayRunner(measurements=served)


def refusing() -> ReplayRunner:
    """Has configs that fail, so that what they are told depends on what came before."""
    refusal = Failure(FailureKind.DIED, "said so")
    return ReplayRunner(
        measurements=served,
        refusals=lambda c: refusal if c["tensor_parallel_size"] == 2 else None,
    )


def test_killed_before_any_write_a_study_goes_on_as_if_it_had_not_been(
    make_loop: MakeLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"trials": 5, "load": "offered", "seed": 5}
    kills = survives_a_kill(make_loop, monkeypatch, refusing, range(90), **options)
    assert 60 < kills < 90


def test_killed_while_configs_are_ruled_out_it_goes_on_as_well(
    make_loop: MakeLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {
        "trials": 5,
        "load": "offered",
        "set": ["max_num_batched_tokens=512"],
        "range": ["max_num_seqs=256:1024"],
    }
    assert survives_a_kill(make_loop, monkeypatch, answering, range(0, 100, 3), **options) > 20


def test_killed_between_the_studies_of_all_it_goes_on_as_well(
    make_loop: MakeLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"objective": "all", "trials": 5, "load": "offered", "seed": 5}
    kills = survives_a_kill(make_loop, monkeypatch, refusing, range(25, 80, 2), **options)
    assert kills == 28


def test_killed_after_every_few_writes_it_still_comes_to_its_end(
    make_loop: MakeLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"trials": 14, "load": "offered", "seed": 5}
    uninterrupted = make_loop(refusing(), **options)
    uninterrupted.run()
    loop = make_loop(refusing(), **options)
    kills = 0
    for number in [*range(6, 40), 1000]:
        loop = make_loop(refusing(), studies=reloaded(loop.studies), **options)
        try:
            with killed_before_write(number, monkeypatch):
                loop.run()
        except Killed:
            kills += 1
    assert kills > 10
    check(loop, uninterrupted)


def test_a_trial_that_was_measured_but_not_told_is_told_and_not_measured_again(
    make_loop: MakeLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*args: object) -> None:
        raise Killed

    loop = make_loop(trials=3)
    with monkeypatch.context() as patch:
        patch.setattr("tuner.study.tell.tell", killed)
        with pytest.raises(Killed):
            loop.run()
    runner = answering()
    again = make_loop(runner, studies=reloaded(loop.studies), trials=3)
    again.run()
    assert [r.number for r in again.records] == [0, 1, 2]
    assert runner.launched == [config for _, config in again.problem.first[1:]]
