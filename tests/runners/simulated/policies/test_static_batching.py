from collections.abc import Callable

import pytest

from objectives import Load, Request, Workload
from runners.simulated.policies import StaticBatching, VllmV1
from runners.simulated.replica import Replica
from runners.simulated.simulation import Run, simulate
from tests.runners.simulated.cases import uneven

Log = Callable[..., list[str]]
Serve = Callable[..., Run]
Build = Callable[..., Replica]
LONG_AND_SHORT = Request(0, 10, 2000), Request(0, 10, 50), Request(1, 10, 50)


def latencies_s(run: Run) -> list[tuple[float, float]]:
    """TTFT and E2EL of every request."""
    return [((r.ttft_ms or 0) / 1000, (r.e2el_ms or 0) / 1000) for r in run.results]


def test_a_full_queue_starts_a_batch_and_a_late_request_waits_for_its_timeout(
    log_under: Log,
) -> None:
    requests = Request(0, 10, 1), Request(3, 10, 1), Request(4, 10, 1)
    log = log_under(StaticBatching(), *requests, max_num_seqs=2, batch_wait_timeout_ms=5000)
    assert log == ["3 prefill 0:10 1:10", "9 prefill 2:10"]


def test_nobody_joins_a_batch(log_under: Log) -> None:
    log = log_under(StaticBatching(), Request(0, 10, 3), Request(0.5, 10, 1), Request(2, 4, 1))
    assert log == ["0 prefill 0:10", "1 decode 0", "2 decode 0", "3 prefill 1:10 2:10"]


def test_a_2000_token_answer_holds_up_those_of_50_tokens(run_under: Serve) -> None:
    run = run_under(StaticBatching(), *LONG_AND_SHORT, max_num_seqs=2)
    assert latencies_s(run) == [(2000, 2000), (2000, 2000), (2049, 2049)]


def test_clients_of_a_closed_loop_all_come_back_at_the_end_of_a_batch(replica: Build) -> None:
    requests = tuple(Request(0, 10, output_tokens) for output_tokens in (3, 1, 2, 2))
    load = Load(workload=Workload(name="t", requests=requests, concurrency=2))
    run = simulate(load, [replica(policy=StaticBatching())])
    assert [result.arrival_s for result in run.results] == [0, 0, 3, 3]
    assert latencies_s(run) == [(3, 3), (3, 3), (2, 2), (2, 2)]


def test_streaming_ends_each_answer_but_the_batch_holds_its_slot(run_under: Serve) -> None:
    run = run_under(StaticBatching(streaming=True), *LONG_AND_SHORT, max_num_seqs=2)
    assert latencies_s(run) == [(1, 2000), (1, 50), (2000, 2049)]


def test_continuous_batching_hands_the_slot_on(run_under: Serve) -> None:
    run = run_under(VllmV1(), *LONG_AND_SHORT, max_num_seqs=2)
    assert latencies_s(run) == [(1, 2000), (1, 50), (50, 99)]


def test_rows_are_padded_to_the_longest_prompt_and_computed_to_the_longest_answer(
    run_under: Serve,
) -> None:
    prefill_ms = 8 + 0.25 * (20 + 20)
    decodes_ms = 2 * (8 + 0.5 * 2) + 0.00390625 * (20 + 20 + 21 + 21)
    requests, end_s = (Request(0, 10, 3), Request(0, 20, 1)), (prefill_ms + decodes_ms) / 1000
    together = run_under(StaticBatching(), *requests, steps=uneven())
    assert latencies_s(together) == [pytest.approx((end_s, end_s))] * 2
    streamed = run_under(StaticBatching(streaming=True), *requests, steps=uneven())
    first_s = prefill_ms / 1000
    assert latencies_s(streamed) == [
        pytest.approx((first_s, end_s)),
        pytest.approx((first_s, first_s)),
    ]


def test_a_batch_is_as_large_as_the_memory_for_its_longest_rows(log_under: Log) -> None:
    # Two rows of 16 + 32 tokens would be 2 x 3 blocks.
    requests = Request(0, 16, 1), Request(0, 16, 32)
    log = log_under(StaticBatching(), *requests, blocks=5)
    assert log[:2] == ["0 prefill 0:16", "1 prefill 1:16"]
    assert log_under(StaticBatching(), *requests, blocks=6)[0] == "0 prefill 0:16 1:16"
