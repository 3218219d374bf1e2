from collections.abc import Callable

import pytest

from objectives import Request
from runners.simulated.policies import Orca, Policy, VllmV1
from runners.simulated.simulation import Run

Log = Callable[..., list[str]]
Serve = Callable[..., Run]


def test_whole_prompts_and_decodes_share_a_step(log_under: Log) -> None:
    log = log_under(Orca(), Request(0, 10, 3), Request(1, 200, 2))
    assert log == ["0 prefill 0:10", "1 prefill 1:200 decode 0", "2 decode 0 1"]


def test_no_more_run_than_the_batch_holds(log_under: Log) -> None:
    log = log_under(Orca(), *[Request(0, 10, 2)] * 3, max_num_seqs=2)
    assert log == ["0 prefill 0:10 1:10", "1 decode 0 1", "2 prefill 2:10", "3 decode 2"]


def test_memory_is_reserved_to_the_last_token(log_under: Log) -> None:
    requests = [Request(0, 10, 2)] * 3
    assert log_under(Orca(max_model_len=64), *requests, blocks=8) == [
        "0 prefill 0:10 1:10",
        "1 decode 0 1",
        "2 prefill 2:10",
        "3 decode 2",
    ]
    assert log_under(Orca(), *requests, blocks=8) == [
        "0 prefill 0:10 1:10 2:10",
        "1 decode 0 1 2",
    ]


def test_a_reservation_that_never_fits_is_refused(log_under: Log) -> None:
    with pytest.raises(ValueError, match="10 input and 2 output tokens does not fit 8 KV blocks"):
        log_under(Orca(max_model_len=129), Request(0, 10, 2), blocks=8)


def test_pages_serve_four_times_the_requests_of_whole_reservations(
    log_under: Log, run_under: Serve
) -> None:
    """PagedAttention's gain (SOSP'23) where answers take a quarter of what is kept for them."""
    requests = [Request(0, 16, 16)] * 8
    memory = {"blocks": 16, "max_num_batched_tokens": 128}

    def at_once(policy: Policy) -> int:
        return log_under(policy, *requests, **memory)[0].count(":")

    def duration_s(policy: Policy) -> float:
        return run_under(policy, *requests, **memory).duration_s

    reserved, paged = Orca(max_model_len=128), VllmV1()
    assert (at_once(reserved), at_once(paged)) == (2, 8)
    assert (duration_s(reserved), duration_s(paged)) == (64, 16)
