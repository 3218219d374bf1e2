from dataclasses import replace
from pathlib import Path

import pytest
from optuna.trial import TrialState

from results.record import TrialRecord
from search_spaces import Config, Value
from tests.tuner.conftest import MakeLoop
from tuner.sampler import KEPT_FOR, ask, enqueue, turn
from tuner.study import Loop


def asked(loop: Loop) -> Config:
    return ask(loop.studies[0], loop.problem, loop.records, loop.selection)[1]


def test_what_is_enqueued_is_asked_next_with_its_origin(make_loop: MakeLoop) -> None:
    loop = make_loop()
    config = loop.problem.space.within({"max_num_seqs": 77, "gpu_memory_utilization": 0.86})
    enqueue(loop.studies[0], loop.problem.space.settings(config), "transfer")
    trial, found, origin = ask(loop.studies[0], loop.problem, [], loop.selection)
    assert (trial.number, found, origin) == (0, config, "transfer")


def test_a_trial_cut_off_before_it_was_told_is_proposed_again(make_loop: MakeLoop) -> None:
    loop = make_loop(trials=4, load="offered")
    loop.run()
    first = asked(loop)
    loop.studies[0].tell(4, state=TrialState.FAIL)
    assert asked(loop) == first
    assert first not in [r.config for r in loop.records]


def test_the_studies_of_all_take_turns_but_what_is_enqueued_goes_first(
    make_loop: MakeLoop,
) -> None:
    loop = make_loop(objective="all", trials=2, load="offered")
    assert turn(loop.studies) is loop.studies[0]
    loop.run()
    assert turn(loop.studies) is loop.studies[2]
    settings = loop.problem.space.settings(loop.problem.space.default())
    enqueue(loop.studies[3], settings, "sampler")
    assert turn(loop.studies) is loop.studies[3]


def test_the_users_own_settings_are_tried_right_after_the_default(
    make_loop: MakeLoop, tmp_path: Path
) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("max-num-seqs: 77\ngpu-memory-utilization: 0.9\n")
    loop = make_loop(trials=3, load="offered", start_from=mine)
    loop.run()
    assert [r.origin for r in loop.records] == ["default", "transfer", "preset"]
    config = {**loop.records[0].config, "max_num_seqs": 77, "gpu_memory_utilization": 0.9}
    assert loop.records[1].config == config


LAUNCH_S = 10.0
EARNED_S = KEPT_FOR * LAUNCH_S


def after(loop: Loop, measured_s: list[float], **differs: Value) -> Config:
    """What is asked for after trials of one launch that measured for so long."""
    config = {**loop.records[-1].config, **differs}
    kept = [
        TrialRecord(
            number=100 + index,
            objective="chat",
            config={**config, "max_num_seqs": 64 + index},
            origin="sampler",
            launch_s=0.0 if index else LAUNCH_S,
            measured_s=seconds,
            launch_id=100,
        )
        for index, seconds in enumerate(measured_s)
    ]
    problem = replace(loop.problem, reuses_engine=True)
    return ask(loop.studies[0], problem, [*loop.records, *kept], loop.selection)[1]


RARE = {"tensor_parallel_size": 2, "gpu_memory_utilization": 0.87}
"""Settings of launch knobs that are hardly drawn by chance."""


@pytest.mark.parametrize(
    ("measured_s", "held"),
    [
        ([EARNED_S - 1], True),
        ([EARNED_S], False),
        ([EARNED_S / 2 - 1, EARNED_S / 2], True),
        ([EARNED_S / 2, EARNED_S / 2], False),
    ],
)
def test_launch_knobs_are_held_until_the_engine_has_earned_its_launch(
    measured_s: list[float], held: bool, make_loop: MakeLoop
) -> None:
    loop = make_loop(trials=3, load="offered", gpu="h100_sxm", gpus=4)
    loop.run()
    config = after(loop, measured_s, **RARE)
    assert ({name: config[name] for name in RARE} == RARE) is held


def test_launch_knobs_are_let_go_when_every_live_setting_was_tried(make_loop: MakeLoop) -> None:
    fixed = ("max_num_batched_tokens=8192", "long_prefill_token_threshold=0")
    loop = make_loop(
        trials=3,
        load="offered",
        gpu="h100_sxm",
        gpus=4,
        set=(*fixed, "batch_wait_timeout_ms=0"),
        range=("max_num_seqs=64,65",),
    )
    loop.run()
    one, two = after(loop, [1.0], **RARE), after(loop, [1.0, 1.0], **RARE)
    assert [{name: c[name] for name in RARE} == RARE for c in (one, two)] == [True, False]
