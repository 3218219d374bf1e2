from collections.abc import Callable

from objectives import Request
from runners.simulated.policies import Sarathi

Log = Callable[..., list[str]]


def test_decodes_come_first_then_begun_prompts_then_new_ones(log_under: Log) -> None:
    requests = Request(0, 4, 4), Request(0, 20, 2), Request(1, 6, 1)
    assert log_under(Sarathi(), *requests, max_num_batched_tokens=16) == [
        "0 prefill 0:4 1:12",
        "1 prefill 1:8 2:6 decode 0",
        "2 decode 0 1",
        "3 decode 0",
    ]


def test_a_prompt_is_cut_to_what_the_decodes_leave_of_the_budget(log_under: Log) -> None:
    requests = Request(0, 10, 3), Request(1, 20, 2)
    assert log_under(Sarathi(), *requests, max_num_batched_tokens=16) == [
        "0 prefill 0:10",
        "1 prefill 1:15 decode 0",
        "2 prefill 1:5 decode 0",
        "3 decode 1",
    ]


def test_decodes_that_fill_the_budget_keep_new_prompts_out(log_under: Log) -> None:
    log = log_under(Sarathi(), *[Request(0, 1, 3)] * 3, max_num_batched_tokens=2)
    assert log == [
        "0 prefill 0:1 1:1",
        "1 decode 0 1",
        "2 decode 0 1",
        "3 prefill 2:1",
        "4 decode 2",
        "5 decode 2",
    ]


def test_blocks_for_the_whole_prompt_are_taken_at_admission(log_under: Log) -> None:
    requests = Request(0, 33, 1), Request(0, 32, 1)
    assert log_under(Sarathi(), *requests, max_num_batched_tokens=16, blocks=4) == [
        "0 prefill 0:16",
        "1 prefill 0:16",
        "2 prefill 0:1",
        "3 prefill 1:16",
        "4 prefill 1:16",
    ]


def test_an_admission_leaves_one_percent_of_the_blocks_free(log_under: Log) -> None:
    settings = {"max_num_batched_tokens": 4000, "blocks": 200}
    first, fits, does_not = Request(0, 1600, 2), Request(0, 1568, 1), Request(0, 1569, 1)
    assert log_under(Sarathi(), first, fits, **settings) == [
        "0 prefill 0:1600 1:1568",
        "1 decode 0",
    ]
    assert log_under(Sarathi(), first, does_not, **settings) == [
        "0 prefill 0:1600",
        "1 decode 0",
        "2 prefill 1:1569",
    ]


def test_the_newest_makes_room_for_a_decode(log_under: Log) -> None:
    log = log_under(Sarathi(), Request(0, 32, 3), Request(0, 31, 3), blocks=4)
    assert log == [
        "0 prefill 0:32 1:31",
        "1 decode 0 preempt 1",
        "2 decode 0",
        "3 prefill 1:32",
        "4 decode 1",
    ]
