from pathlib import Path

from optuna.trial import TrialState

from search_spaces import Config
from tests.tuner.conftest import MakeLoop
from tuner.sampler import ask, enqueue, turn
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
