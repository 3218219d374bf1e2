from collections.abc import Callable

from objectives import Request
from runners.simulated.policies import TGI

Log = Callable[..., list[str]]


def test_a_few_waiting_requests_wait_until_enough_tokens_were_decoded(log_under: Log) -> None:
    tgi = TGI(waiting_served_ratio=1.0, max_waiting_tokens=3)
    log = log_under(tgi, Request(0, 10, 4), Request(0, 10, 4), Request(1, 10, 2))
    assert log == [
        "0 prefill 0:10 1:10",
        "1 decode 0 1",
        "2 decode 0 1",
        "3 prefill 2:10",
        "4 decode 0 1 2",
    ]


def test_enough_waiting_requests_pause_the_decodes_at_once(log_under: Log) -> None:
    tgi = TGI(waiting_served_ratio=1.0)
    log = log_under(tgi, *[Request(0, 10, 3)] * 2, *[Request(1, 10, 2)] * 2)
    assert log == [
        "0 prefill 0:10 1:10",
        "1 prefill 2:10 3:10",
        "2 decode 0 1 2 3",
        "3 decode 0 1",
    ]


def test_between_two_pauses_there_is_a_decode(log_under: Log) -> None:
    tgi = TGI(waiting_served_ratio=0.5)
    log = log_under(tgi, Request(0, 10, 4), Request(1, 10, 2), Request(2, 10, 1))
    assert log == [
        "0 prefill 0:10",
        "1 prefill 1:10",
        "2 decode 0 1",
        "3 prefill 2:10",
        "4 decode 0",
        "5 decode 0",
    ]


def test_a_batch_smaller_than_the_ratio_asks_for_goes_back_in_order(log_under: Log) -> None:
    # When request 0 has ended there is room for one of the two that wait, and two are wanted.
    requests = Request(0, 16, 3), Request(0, 16, 5), Request(1, 16, 2), Request(1, 16, 1)
    assert log_under(TGI(waiting_served_ratio=2.0), *requests, blocks=4) == [
        "0 prefill 0:16 1:16",
        "1 decode 0 1",
        "2 decode 0 1",
        "3 decode 1",
        "4 decode 1",
        "5 prefill 2:16 3:16",
        "6 decode 2",
    ]


def test_prompts_share_a_prefill_up_to_its_tokens(log_under: Log) -> None:
    log = log_under(TGI(max_batch_prefill_tokens=48), *[Request(0, 17, 1)] * 2)
    assert log == ["0 prefill 0:17", "1 prefill 1:17"]
    log = log_under(TGI(max_batch_prefill_tokens=64), *[Request(0, 17, 1)] * 2)
    assert log == ["0 prefill 0:17 1:17"]


def test_input_and_output_tokens_are_reserved_out_of_the_total(log_under: Log) -> None:
    requests = [Request(0, 16, 16)] * 2
    together, apart = TGI(max_batch_total_tokens=64), TGI(max_batch_total_tokens=63)
    assert log_under(together, *requests)[0] == "0 prefill 0:16 1:16"
    assert log_under(apart, *requests)[0] == "0 prefill 0:16"
