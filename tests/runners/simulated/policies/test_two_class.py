from collections.abc import Callable

import pytest

from objectives import Request
from runners.simulated.policies import TwoClass

Log = Callable[..., list[str]]
PRIORITY = {"scheduling_policy": "priority"}


def test_batch_requests_get_what_interactive_ones_leave(log_under: Log) -> None:
    requests = Request(0, 20, 2, priority=1), Request(0, 10, 2), Request(0, 10, 1)
    policy = TwoClass(interactive_requests=1, batch_requests=2)
    assert log_under(policy, *requests, max_num_batched_tokens=16, **PRIORITY) == [
        "0 prefill 1:10 0:6",
        "1 prefill 0:14 decode 1",
        "2 prefill 2:10 decode 0",
    ]


def test_each_class_has_its_own_limit(log_under: Log) -> None:
    requests = *[Request(0, 4, 2)] * 3, *[Request(0, 4, 2, priority=1)] * 2
    policy = TwoClass(interactive_requests=2, batch_requests=1)
    assert log_under(policy, *requests, **PRIORITY) == [
        "0 prefill 0:4 1:4 3:4",
        "1 decode 0 1 3",
        "2 prefill 2:4 4:4",
        "3 decode 2 4",
    ]


def test_batch_requests_do_not_overtake_interactive_ones_that_wait_for_memory(
    log_under: Log,
) -> None:
    requests = Request(0, 33, 2), Request(0, 32, 1), Request(0, 16, 1, priority=1)
    assert log_under(TwoClass(), *requests, blocks=4, **PRIORITY) == [
        "0 prefill 0:33",
        "1 decode 0",
        "2 prefill 1:32 2:16",
    ]


def test_batch_requests_make_room_for_interactive_ones(log_under: Log) -> None:
    requests = Request(0, 32, 3, priority=1), Request(0, 32, 2)
    assert log_under(TwoClass(), *requests, blocks=4, **PRIORITY) == [
        "0 prefill 1:32 0:32",
        "1 decode 1 preempt 0",
        "2 prefill 0:33",
        "3 decode 0",
    ]


def test_two_classes_need_the_priority_queue(log_under: Log) -> None:
    with pytest.raises(ValueError, match='`scheduling_policy == "priority"` must hold'):
        log_under(TwoClass(), Request(0, 4, 2))
