from collections.abc import Callable

from objectives import Request
from runners.simulated.policies import Adaptive

Log = Callable[..., list[str]]


def test_slow_answers_take_four_slots_and_later_ones_are_judged_by_themselves(
    log_under: Log,
) -> None:
    policy = Adaptive(target_ms=1000, max_requests=8, window=2)
    log = log_under(policy, *[Request(0, 5, 2)] * 6, *[Request(10, 5, 1)] * 4, max_num_seqs=6)
    assert log == [
        "0 prefill 0:5 1:5 2:5 3:5 4:5 5:5",
        "1 decode 0 1 2 3 4 5",
        "10 prefill 6:5 7:5",
        "11 prefill 8:5 9:5",
    ]


def test_one_slot_always_stays(log_under: Log) -> None:
    policy = Adaptive(target_ms=1, max_requests=8, window=1)
    log = log_under(policy, *[Request(0, 5, 1)] * 4, max_num_seqs=2)
    assert log == ["0 prefill 0:5 1:5", "1 prefill 2:5", "2 prefill 3:5"]


def test_fast_answers_with_a_long_queue_add_four_slots_up_to_the_most(log_under: Log) -> None:
    policy = Adaptive(target_ms=10_000, max_requests=5, window=2)
    log = log_under(policy, *[Request(0, 5, 1)] * 13, max_num_seqs=2)
    assert log == [
        "0 prefill 0:5 1:5",
        "1 prefill 2:5 3:5 4:5 5:5 6:5",
        "2 prefill 7:5 8:5 9:5 10:5 11:5",
        "3 prefill 12:5",
    ]


def test_a_queue_of_ten_is_no_reason_to_add_slots(log_under: Log) -> None:
    policy = Adaptive(target_ms=10_000, max_requests=5, window=2)
    log = log_under(policy, *[Request(0, 5, 1)] * 12, max_num_seqs=2)
    assert log[1] == "1 prefill 2:5 3:5"


def test_nothing_changes_before_a_window_of_answers(log_under: Log) -> None:
    policy = Adaptive(target_ms=1, max_requests=8, window=5)
    log = log_under(policy, *[Request(0, 5, 1)] * 7, max_num_seqs=2)
    assert log == ["0 prefill 0:5 1:5", "1 prefill 2:5 3:5", "2 prefill 4:5 5:5", "3 prefill 6:5"]
