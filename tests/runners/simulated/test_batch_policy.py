from collections.abc import Callable

from objectives import Load, Request, Workload
from runners.simulated.replica import Replica
from runners.simulated.simulation import simulate

Serve = Callable[..., list[str]]
JOINING = Request(0, 4, 4), Request(0.5, 6, 2)


def test_a_request_joins_the_running_batch_at_the_next_step(serve: Serve) -> None:
    log = serve(*JOINING, batch_policy="continuous")
    assert log == ["0 prefill 0:4", "1 prefill 1:6 decode 0", "2 decode 0 1", "3 decode 0"]


def test_prefill_first_makes_the_answers_that_stream_wait_for_prompts(serve: Serve) -> None:
    log = serve(*JOINING, batch_policy="prefill_first", max_num_batched_tokens=4)
    assert log == [
        "0 prefill 0:4",
        "1 prefill 1:4",
        "2 prefill 1:2",
        "3 decode 0 1",
        "4 decode 0",
        "5 decode 0",
    ]


def test_prefill_first_decodes_while_no_prompt_finds_room(serve: Serve) -> None:
    log = serve(*JOINING, batch_policy="prefill_first", max_num_seqs=1)
    assert log == [
        "0 prefill 0:4",
        "1 decode 0",
        "2 decode 0",
        "3 decode 0",
        "4 prefill 1:6",
        "5 decode 1",
    ]
    log = serve(*JOINING, batch_policy="prefill_first", blocks=1)
    assert log[1:] == ["1 decode 0", "2 decode 0", "3 decode 0", "4 prefill 1:6", "5 decode 1"]


def test_decode_first_makes_prompts_wait_for_the_answers_that_stream(serve: Serve) -> None:
    log = serve(*JOINING, batch_policy="decode_first")
    assert log == [
        "0 prefill 0:4",
        "1 decode 0",
        "2 decode 0",
        "3 decode 0",
        "4 prefill 1:6",
        "5 decode 1",
    ]


def test_decode_first_finishes_an_answer_before_the_rest_of_a_prompt(serve: Serve) -> None:
    requests = Request(0, 4, 3), Request(0, 6, 1)
    log = serve(*requests, batch_policy="decode_first", max_num_batched_tokens=6)
    assert log == ["0 prefill 0:4 1:2", "1 decode 0", "2 decode 0", "3 prefill 1:4"]


def test_nobody_joins_a_static_batch_until_all_of_it_has_finished(serve: Serve) -> None:
    requests = Request(0, 4, 4), Request(0, 4, 2), Request(0.5, 6, 2), Request(2.5, 6, 1)
    log = serve(*requests, batch_policy="static")
    assert log == [
        "0 prefill 0:4 1:4",
        "1 decode 0 1",
        "2 decode 0",
        "3 decode 0",
        "4 prefill 2:6 3:6",
        "5 decode 2",
    ]


def test_a_static_batch_larger_than_a_step_joins_over_several_steps(serve: Serve) -> None:
    requests = Request(0, 4, 3), Request(0, 4, 1), Request(0, 4, 1), Request(0.5, 4, 1)
    assert serve(*requests, batch_policy="static", max_num_batched_tokens=6) == [
        "0 prefill 0:4 1:2",
        "1 prefill 1:2 2:3 decode 0",
        "2 prefill 2:1 decode 0",
        "3 prefill 3:4",
    ]


def test_a_static_batch_waits_to_be_filled_or_for_the_timeout(serve: Serve) -> None:
    requests = [
        Request(0, 4, 3),
        Request(0.5, 4, 1),
        Request(1, 4, 1),
        Request(6, 4, 1),
    ]
    options = {"batch_policy": "static", "max_num_seqs": 2, "batch_wait_timeout_ms": 1500}
    assert serve(*requests, **options) == [
        "0.5 prefill 0:4 1:4",  # filled
        "1.5 decode 0",
        "2.5 decode 0",
        "3.5 prefill 2:4",  # has waited for longer than the timeout
        "7.5 prefill 3:4",  # waits for exactly the timeout
    ]


def test_nobody_slips_into_a_static_batch_behind_a_preempted_request(serve: Serve) -> None:
    requests = Request(0, 32, 4), Request(0, 32, 2), Request(0, 32, 3), Request(0.5, 4, 1)
    assert serve(*requests, blocks=8, batch_policy="static") == [
        "0 prefill 0:32 1:32 2:32",
        "1 decode 0 1 preempt 2",
        "2 prefill 2:33 decode 0",
        "3 decode 0 2",
        "4 prefill 3:4",
    ]


def test_an_answer_of_2000_tokens_holds_up_answers_of_50_in_a_static_batch(
    replica: Callable[..., Replica],
) -> None:
    requests = Request(0, 10, 2000), Request(0, 10, 50), Request(9.5, 10, 50)
    load = Load(workload=Workload(name="t", requests=requests))

    def finished_s(policy: str) -> list[float]:
        run = simulate(load, [replica(batch_policy=policy)])
        return [r.arrival_s + (r.e2el_ms or 0) / 1000 for r in run.results]

    assert finished_s("continuous") == [2000, 50, 60]
    assert finished_s("static") == [2000, 50, 2050]
