from collections.abc import Callable

import pytest

from objectives import Request
from runners.simulated.replica import Replica, StepEvent
from runners.simulated.sequence import Sequence

Serve = Callable[..., list[str]]


def test_a_step_tells_when_it_ran_and_what_it_did_for_whom(
    replica: Callable[..., Replica],
) -> None:
    log: list[StepEvent] = []
    engine = replica(log.append)
    engine.add(Sequence(7, Request(0.5, 10, 2), arrival_s=0.5))
    assert [sequence.index for sequence in engine.advance(9)] == [7]
    assert log == [
        StepEvent(0.5, 1.5, prefills=((7, 10),), decodes=(), preempted=()),
        StepEvent(1.5, 2.5, prefills=(), decodes=(7,), preempted=()),
    ]


def test_prompts_are_cut_into_chunks_that_fill_the_token_budget(serve: Serve) -> None:
    log = serve(Request(0, 10, 2), Request(0, 6, 3), max_num_batched_tokens=8)
    assert log == ["0 prefill 0:8", "1 prefill 0:2 1:6", "2 decode 0 1", "3 decode 1"]


def test_decodes_and_prompts_share_the_budget_in_order_of_admission(serve: Serve) -> None:
    log = serve(Request(0, 4, 4), Request(0.5, 20, 1), max_num_batched_tokens=8)
    assert log == [
        "0 prefill 0:4",
        "1 prefill 1:7 decode 0",
        "2 prefill 1:7 decode 0",
        "3 prefill 1:6 decode 0",
    ]


def test_nobody_is_admitted_beyond_max_num_seqs(serve: Serve) -> None:
    log = serve(*[Request(0, 4, 2)] * 3, max_num_seqs=2)
    assert log == ["0 prefill 0:4 1:4", "1 decode 0 1", "2 prefill 2:4", "3 decode 2"]


def test_decodes_beyond_the_budget_wait_for_their_turn(serve: Serve) -> None:
    # Three answers, two tokens a step: the last admitted starves until the first has finished.
    log = serve(*[Request(0, 1, 3)] * 3, max_num_batched_tokens=2)
    assert log == [
        "0 prefill 0:1 1:1",
        "1 decode 0 1",
        "2 decode 0 1",
        "3 prefill 2:1",
        "4 decode 2",
        "5 decode 2",
    ]


def test_the_last_admitted_is_preempted_and_recomputed_from_the_front_of_the_queue(
    serve: Serve,
) -> None:
    # Both prompts fill the cache, so the first decode needs a block of the second's. The block
    # left over would hold request 2, but nobody is admitted in a step that preempts; later the
    # preempted one, too large for it, is first in line, with the token it had already produced.
    log = serve(Request(0, 32, 3), Request(0, 32, 3), Request(0.5, 4, 1), blocks=4)
    assert log == [
        "0 prefill 0:32 1:32",
        "1 decode 0 preempt 1",
        "2 decode 0",
        "3 prefill 1:33 2:4",
        "4 decode 1",
    ]


def test_two_preempted_requests_come_back_in_the_order_they_came(serve: Serve) -> None:
    log = serve(*[Request(0, 16, 3)] * 3, blocks=3)
    assert log == [
        "0 prefill 0:16 1:16 2:16",
        "1 decode 0 preempt 2 1",
        "2 decode 0",
        "3 prefill 1:17",
        "4 decode 1",
        "5 prefill 2:17",
        "6 decode 2",
    ]


@pytest.mark.parametrize(("policy", "order"), [("fcfs", "0 1 2"), ("priority", "2 1 0")])
def test_requests_come_in_order_of_arrival_or_of_priority(
    serve: Serve, policy: str, order: str
) -> None:
    requests = [Request(0, 4, 1, priority=priority) for priority in (2, 1, 0)]
    log = serve(*requests, max_num_seqs=1, scheduling_policy=policy)
    assert log == [f"{at} prefill {who}:4" for at, who in enumerate(order.split())]


def test_equal_priorities_are_served_first_come_first_served(serve: Serve) -> None:
    requests = [Request(0, 4, 1), Request(0.1, 4, 1), Request(0.2, 4, 1)]
    log = serve(*requests, max_num_seqs=1, scheduling_policy="priority")
    assert log == ["0 prefill 0:4", "1 prefill 1:4", "2 prefill 2:4"]


@pytest.mark.parametrize(
    ("policy", "step"),
    [("fcfs", "1 decode 0 1 preempt 2"), ("priority", "1 decode 1 2 preempt 0")],
)
def test_the_least_urgent_is_preempted_under_priority(
    serve: Serve, policy: str, step: str
) -> None:
    requests = [Request(0, 16, 2, priority=priority) for priority in (9, 0, 1)]
    log = serve(*requests, blocks=5, max_num_seqs=3, scheduling_policy=policy)
    assert log[1] == step


def test_a_long_prompt_lets_short_ones_past_under_a_threshold(serve: Serve) -> None:
    requests = [Request(0, 12, 1), Request(0, 2, 2)]
    assert serve(*requests, max_num_batched_tokens=6) == [
        "0 prefill 0:6",
        "1 prefill 0:6",
        "2 prefill 1:2",
        "3 decode 1",
    ]
    assert serve(*requests, max_num_batched_tokens=6, long_prefill_token_threshold=4) == [
        "0 prefill 0:4 1:2",
        "1 prefill 0:4 decode 1",
        "2 prefill 0:4",
    ]


def test_the_threshold_is_ignored_while_a_request_is_alone(serve: Serve) -> None:
    log = serve(
        Request(0, 20, 1),
        Request(0.5, 2, 1),
        max_num_batched_tokens=8,
        long_prefill_token_threshold=4,
    )
    assert log == ["0 prefill 0:8", "1 prefill 0:4 1:2", "2 prefill 0:8"]


def test_without_chunked_prefill_a_prompt_that_does_not_fit_blocks_those_behind(
    serve: Serve,
) -> None:
    requests = [Request(0, 6, 1), Request(0, 4, 1), Request(0, 2, 1)]
    log = serve(*requests, max_num_batched_tokens=8, enable_chunked_prefill=False)
    assert log == ["0 prefill 0:6", "1 prefill 1:4 2:2"]


def test_an_idle_replica_starts_a_request_when_it_comes(serve: Serve) -> None:
    assert serve(Request(1.5, 4, 1), Request(7.25, 4, 1)) == [
        "1.5 prefill 0:4",
        "7.25 prefill 1:4",
    ]
