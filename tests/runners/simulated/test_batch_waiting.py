from collections.abc import Callable

import pytest

from objectives import Request

Serve = Callable[..., list[str]]


def test_a_request_alone_waits_exactly_the_timeout(serve: Serve) -> None:
    assert serve(Request(1, 4, 1), batch_wait_timeout_ms=2500) == ["3.5 prefill 0:4"]


def test_the_wait_ends_for_all_when_it_ends_for_the_oldest(serve: Serve) -> None:
    log = serve(Request(0, 4, 1), Request(2, 4, 1), batch_wait_timeout_ms=2500)
    assert log == ["2.5 prefill 0:4 1:4"]


def test_the_wait_ends_when_the_free_slots_could_be_filled(serve: Serve) -> None:
    requests = Request(0, 4, 1), Request(1.25, 4, 1)
    log = serve(*requests, batch_wait_timeout_ms=5000, max_num_seqs=2)
    assert log == ["1.25 prefill 0:4 1:4"]


def test_the_wait_ends_when_enough_requests_wait(serve: Serve) -> None:
    requests = Request(0, 4, 1), Request(1.25, 4, 1)
    log = serve(*requests, batch_wait_timeout_ms=5000, batch_wait_min_requests=2)
    assert log == ["1.25 prefill 0:4 1:4"]


def test_no_more_requests_are_waited_for_than_there_are_free_slots(serve: Serve) -> None:
    requests = Request(0, 4, 3), Request(0, 4, 3), Request(0.5, 4, 1)
    options = {"batch_wait_timeout_ms": 5000, "batch_wait_min_requests": 2, "max_num_seqs": 3}
    assert serve(*requests, **options) == [
        "0 prefill 0:4 1:4",
        "1 prefill 2:4 decode 0 1",
        "2 decode 0 1",
    ]


def test_requests_are_held_although_others_run(serve: Serve) -> None:
    requests = Request(0, 4, 5), Request(2.5, 4, 1)
    log = serve(*requests, batch_wait_timeout_ms=2000, max_num_seqs=3)
    assert log == [
        "2 prefill 0:4",
        "3 decode 0",
        "4 decode 0",
        "5 prefill 1:4 decode 0",  # the first step that starts after 2.5 s + 2 s
        "6 decode 0",
    ]


def test_the_most_urgent_of_the_held_go_first(serve: Serve) -> None:
    requests = Request(0, 4, 1, priority=1), Request(1, 4, 1)
    log = serve(
        *requests,
        batch_wait_timeout_ms=2000,
        max_num_batched_tokens=4,
        scheduling_policy="priority",
    )
    assert log == ["2 prefill 1:4", "3 prefill 0:4"]


@pytest.mark.parametrize("policy", ["fcfs", "priority"])
def test_a_preempted_request_is_never_held_and_lets_nobody_in(serve: Serve, policy: str) -> None:
    # The three first are enough of them to start. Request 3 is held until 10.5 s, also when the
    # preempted request 1 comes back before it, under `priority` past its greater urgency.
    log = serve(
        Request(0, 32, 3, priority=1),
        Request(0, 32, 3, priority=2),
        Request(0, 4, 1, priority=2),
        Request(0.5, 4, 1, priority=0),
        blocks=5,
        batch_wait_timeout_ms=10_000,
        batch_wait_min_requests=3,
        scheduling_policy=policy,
    )
    assert log == [
        "0 prefill 0:32 1:32 2:4",
        "1 decode 0 preempt 1",
        "2 decode 0",
        "3 prefill 1:33",
        "4 decode 1",
        "10.5 prefill 3:4",
    ]


def test_a_timeout_of_zero_is_the_engines_own_behaviour(serve: Serve) -> None:
    requests = [Request(0.75 * i, 30, 8) for i in range(6)]
    options = {"blocks": 5, "max_num_batched_tokens": 40}
    own = serve(*requests, **options)
    assert serve(*requests, **options, batch_wait_min_requests=4) == own
    assert any("preempt" in line for line in own)
