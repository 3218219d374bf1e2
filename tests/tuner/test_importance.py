"""How much each knob matters, from trials whose answer is known."""

import pytest

from tests.tuner.conftest import MakeLoop
from tuner.importance import LEAST_TRIALS, importance
from tuner.study import Loop


@pytest.fixture
def searched(make_loop: MakeLoop) -> Loop:
    loop = make_loop(trials=24)
    loop.run()
    return loop


def test_a_knob_that_decides_has_more_than_one_that_does_nothing(searched: Loop) -> None:
    studies, problem, records = searched.studies, searched.problem, searched.records
    found = importance(studies, problem, records)
    capacity = {k.knob: k for k in found["chat", "capacity_per_gpu"]}
    assert capacity["max_num_seqs"].share > capacity["gpu_memory_utilization"].share
    assert sum(k.share for k in capacity.values()) == pytest.approx(1.0)
    assert all(0 <= k.low <= k.share <= k.high <= 1 for k in capacity.values())


def test_the_same_trials_always_say_the_same(searched: Loop) -> None:
    studies, problem, records = searched.studies, searched.problem, searched.records
    assert importance(studies, problem, records) == importance(studies, problem, records)


def test_few_trials_say_nothing(searched: Loop) -> None:
    studies, problem, records = searched.studies, searched.problem, searched.records
    assert importance(studies, problem, records[: LEAST_TRIALS - 1]) == {}
