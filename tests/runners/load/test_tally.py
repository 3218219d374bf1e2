import pytest

from objectives import Load, Request, RequestResult, Workload, parse_sla
from objectives.sequential import MissCount
from runners.base import EngineError, FailureKind
from runners.load.job import Finished
from runners.load.tally import Tally


def load(requests: int = 4, spacing_s: float = 1.0, concurrency: int | None = None) -> Load:
    offered = tuple(Request(spacing_s * i, 10, 20) for i in range(requests))
    return Load(workload=Workload(name="w", requests=offered, concurrency=concurrency))


def answer(
    index: int,
    *,
    lag_ms: float = 0.0,
    ttft_ms: float = 100.0,
    prompt_tokens: int = 10,
    completion_tokens: int = 20,
) -> Finished:
    return Finished(
        index, index, index + 0.5, lag_ms, ttft_ms, 500.0, prompt_tokens, completion_tokens
    )


def told(load: Load, *finished: Finished) -> Tally:
    tally = Tally(load)
    for one in finished:
        tally._add(one)
    return tally


def failed(index: int, error: str) -> Finished:
    return Finished(index, index, index + 0.1, 0.0, error=error)


def test_a_run_is_its_requests_in_order_whatever_became_of_them() -> None:
    run = told(load(), answer(2), failed(0, "HTTP 503: full"), answer(1)).run(7.0)
    assert run.results == (
        RequestResult(0.0, 10, 20),
        RequestResult(1.0, 10, 20, 100.0, 500.0),
        RequestResult(2.0, 10, 20, 100.0, 500.0),
        RequestResult(3.0, 10, 20),
    )
    assert (run.duration_s, run.errors) == (7.0, {"HTTP 503: full": 1})
    assert (run.prompt_tokens, run.completion_tokens) == (20, 40)


def test_a_run_that_finished_lasts_until_its_last_answer() -> None:
    assert told(load(2), answer(0), answer(1)).run(7.0).duration_s == 1.5


def test_what_a_closed_loop_sent_but_did_not_finish_keeps_its_own_time() -> None:
    tally = Tally(load(3, concurrency=2))
    tally.hear({"sent": [[0, 0.0], [1, 0.0], [2, 0.25]], "finished": []})
    assert [result.arrival_s for result in tally.run(1.0).results] == [0.0, 0.0, 0.25]


@pytest.mark.parametrize(("given", "lengths"), [(19, "19 tokens instead"), (21, "21 tokens ins")])
def test_answers_of_another_length_are_no_measurement(given: int, lengths: str) -> None:
    with pytest.raises(EngineError, match=f"had {lengths}.*`ignore_eos`") as caught:
        told(load(), answer(0, completion_tokens=given)).run(1.0)
    assert caught.value.failure.kind is FailureKind.HOST


def test_prompts_of_another_length_are_no_measurement() -> None:
    with pytest.raises(EngineError, match="counted 11 tokens in 1 prompts of 10"):
        told(load(), answer(0, prompt_tokens=11)).run(1.0)


def test_lengths_may_differ_by_two_percent_in_all() -> None:
    answers = [answer(i, completion_tokens=20 + (i == 0)) for i in range(4)]
    assert told(load(), *answers).run(9.0).completion_tokens == 81


def test_a_client_that_was_late_gives_no_figures() -> None:
    with pytest.raises(EngineError, match="the load client fell behind: 2 of 4") as caught:
        told(load(), answer(0, lag_ms=5.1), answer(1, lag_ms=6), answer(2), answer(3)).run(9.0)
    assert caught.value.failure.kind is FailureKind.HOST


def test_one_late_send_of_a_hundred_is_let_pass_and_of_few_is_not() -> None:
    late, *others = (answer(i, lag_ms=50.0 if i == 0 else 0.1) for i in range(100))
    assert told(load(100), late, *others).run(99.0).p99_send_lag_ms < 5.0
    with pytest.raises(EngineError, match=r"1 of 4 requests left more than 5\.0 ms late"):
        told(load(), late, *others[:3]).run(9.0)


def test_a_slow_engine_allows_a_later_client() -> None:
    slow = (answer(i, lag_ms=9.0, ttft_ms=500.0) for i in range(4))
    assert told(load(), *slow).run(9.0).p99_send_lag_ms == 9.0


def test_requests_that_arrive_all_at_once_leave_one_after_the_other() -> None:
    one_by_one = (answer(i, lag_ms=90.0) for i in range(4))
    assert told(load(spacing_s=0.0), *one_by_one).run(9.0).p99_send_lag_ms == 90.0


def test_a_failed_request_is_a_miss_of_any_bound() -> None:
    bounds = parse_sla("p90_ttft_ms<=1000")
    offered = Load(workload=load(9).workload, watch=lambda: MissCount(bounds, 9))
    assert not told(offered, answer(0)).over
    assert told(offered, answer(0), failed(1, "HTTP 500: no")).over


def test_errors_of_too_many_kinds_are_counted_together() -> None:
    tally = told(load(30), *(failed(i, f"error {i}") for i in range(30)))
    errors = tally.run(40.0).errors
    assert (len(errors), errors["other failures"]) == (21, 10)
