from collections.abc import Callable

from objectives import Request
from runners.simulated.policies import VllmV0

Log = Callable[..., list[str]]


def test_waiting_prompts_go_before_decodes_and_alone(log_under: Log) -> None:
    log = log_under(VllmV0(max_model_len=100), Request(0, 10, 3), Request(1, 20, 2))
    assert log == ["0 prefill 0:10", "1 prefill 1:20", "2 decode 0 1", "3 decode 0"]


def test_prompts_are_never_cut_and_share_a_step_up_to_the_model_length(log_under: Log) -> None:
    requests = Request(0, 1500, 1), Request(0, 600, 1)
    assert log_under(VllmV0(max_model_len=1501), *requests) == [
        "0 prefill 0:1500",
        "1 prefill 1:600",
    ]
    assert log_under(VllmV0(max_model_len=2100), *requests) == ["0 prefill 0:1500 1:600"]


def test_an_admission_leaves_one_percent_of_the_blocks_free(log_under: Log) -> None:
    v0, first = VllmV0(max_model_len=4000), Request(0, 100 * 16, 2)
    fits, does_not = Request(0, 98 * 16, 1), Request(0, 98 * 16 + 1, 1)
    assert log_under(v0, first, fits, blocks=200) == ["0 prefill 0:1600 1:1568", "1 decode 0"]
    assert log_under(v0, first, does_not, blocks=200) == [
        "0 prefill 0:1600",
        "1 decode 0",
        "2 prefill 1:1569",
    ]


def test_a_prompt_that_needs_every_block_runs_alone(log_under: Log) -> None:
    log = log_under(VllmV0(max_model_len=1600), Request(0, 1600, 1), blocks=100)
    assert log == ["0 prefill 0:1600"]


def test_the_newest_is_preempted_and_recomputed_with_what_it_produced(log_under: Log) -> None:
    requests = Request(0, 32, 3), Request(0, 31, 3)
    assert log_under(VllmV0(max_model_len=100), *requests, blocks=4) == [
        "0 prefill 0:32 1:31",
        "1 decode 0 preempt 1",
        "2 decode 0",
        "3 prefill 1:32",
        "4 decode 1",
    ]
