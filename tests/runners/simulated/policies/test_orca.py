from collections.abc import Callable

import pytest

from objectives import Request
from runners.simulated.policies import Orca

Log = Callable[..., list[str]]


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
