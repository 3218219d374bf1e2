import asyncio
import math
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from objectives import Load, Request, RequestResult, Workload
from runners.base import EngineError, Failure, FailureKind
from runners.load import Run, Server, at_once, every_step, offer
from runners.load.client import connected
from runners.load.job import Finished, jobs
from runners.load.offering import workers
from runners.load.prompts import body
from runners.load.schedule import Prepared, Sending
from runners.load.shards import COMMAND
from runners.testing.server import Answer, CompletionServer, Exchange, Fault

pytestmark = pytest.mark.usefixtures("busy_machine")
SLACK_MS = 5000.0
"""Above what the server itself recorded: no load holds up a client for longer."""


def workload(requests: int = 6, spacing_s: float = 0.02) -> Workload:
    made = tuple(Request(spacing_s * i, 16 + i, 4 + i) for i in range(requests))
    return Workload(name="light", requests=made)


def to(server: CompletionServer, **fields: object) -> Server:
    return replace(Server(url=server.url, model=server.model, vocab_size=4096), **fields)  # type: ignore[arg-type]


def offered(server: CompletionServer, load: Load, **options: object) -> Run:
    return offer(to(server), load, salt="salt", **options)  # type: ignore[arg-type]


def asked(load: Load) -> list[tuple[float, int, int]]:
    return [(r.arrival_s, r.input_tokens, r.output_tokens) for r in load.workload.requests]


def lengths(run: Run) -> list[tuple[float, int, int]]:
    return [(r.arrival_s, r.input_tokens, r.output_tokens) for r in run.results]


def children() -> list[str]:
    """Direct children of this process, zombies included."""
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text("utf-8").split()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


def check_times(result: RequestResult, exchange: Exchange) -> None:
    """The client cannot have seen a token before the server wrote it, nor long after."""
    ttft_ms = 1000 * (exchange.tokens_s[0] - exchange.received_s)
    e2el_ms = 1000 * (exchange.tokens_s[-1] - exchange.received_s)
    assert ttft_ms < (result.ttft_ms or 0) < ttft_ms + SLACK_MS
    assert e2el_ms < (result.e2el_ms or 0) < e2el_ms + SLACK_MS


@pytest.mark.parametrize(
    "load",
    [
        Load(workload=workload()),
        Load(workload=workload().at_rate(math.inf)),
        Load(workload=workload(), patience_s=60.0),
    ],
    ids=["open loop", "all at once", "with patience"],
)
def test_every_request_is_answered_and_timed(load: Load) -> None:
    with CompletionServer(Answer(ttft_s=0.02, gap_s=0.002)) as server:
        run = offered(server, load)
    assert lengths(run) == asked(load)
    assert (run.errors, run.prompt_tokens, run.completion_tokens) == ({}, 111, 39)
    by_length = sorted(server.exchanges, key=lambda exchange: exchange.prompt_tokens)
    for result, exchange in zip(run.results, by_length, strict=True):
        check_times(result, exchange)
    last_s = max(r.arrival_s + (r.e2el_ms or 0) / 1000 for r in run.results)
    assert run.duration_s == pytest.approx(last_s)


def test_latency_counts_from_the_intended_send_time() -> None:
    """Here of a request that was due 100 s before it was sent."""
    finished: list[Finished] = []

    async def send(server: CompletionServer) -> None:
        prompt = body(to(server), (b"[17]",), Request(0.0, 1, 3))
        async with connected(to(server), request_timeout_s=60.0) as client:
            now_s = time.monotonic()
            sending = Sending(client, now_s - 101, finished.append, sent=lambda _: None)
            await sending.send(Prepared(0, 1.0, prompt), now_s - 100)

    with CompletionServer() as server:
        asyncio.run(send(server))
    [one] = finished
    assert one.arrival_s == pytest.approx(1.0)
    assert 100_000 <= one.send_lag_ms < (one.ttft_ms or 0) <= (one.e2el_ms or 0)


def test_a_closed_loop_sends_the_next_request_when_a_slot_frees_up() -> None:
    load = Load(workload=workload().at_concurrency(2))
    with CompletionServer(Answer(ttft_s=0.01)) as server:
        run = offered(server, load)
    arrivals_s = [result.arrival_s for result in run.results]
    assert arrivals_s == sorted(arrivals_s)
    assert arrivals_s[:2] == [0.0, 0.0]
    ends_s = sorted(r.arrival_s + (r.e2el_ms or 0) / 1000 for r in run.results)
    assert all(begin >= end for begin, end in zip(arrivals_s[2:], ends_s, strict=False))


@pytest.mark.parametrize("concurrency", [None, 2])
def test_what_is_unanswered_when_patience_ends_has_no_latency(concurrency: int | None) -> None:
    load = Load(workload=replace(workload(), concurrency=concurrency), patience_s=1e-9)
    with CompletionServer(Answer(ttft_s=0.01)) as server:
        run = offered(server, load)
    assert run.results[-1] == RequestResult(run.results[-1].arrival_s, 21, 9)
    assert len(run.results) == 6
    assert run.errors == {}


def test_a_run_ends_when_its_watch_has_seen_enough() -> None:
    class Second:
        def over(self, result: RequestResult, now_s: float) -> bool:
            assert now_s >= result.arrival_s
            return result.output_tokens == 5

    load = Load(workload=workload(3, spacing_s=600.0), watch=Second)
    quick = replace(load, workload=load.workload.at_rate(math.inf))
    with CompletionServer(lambda asked, _: hanging(asked, 6)) as server:
        run = offered(server, quick)
    assert [result.completed for result in run.results] == [True, True, False]
    assert run.duration_s < 60


def hanging(body: dict[str, object], output_tokens: int) -> Answer:
    return Answer(fault=Fault.HANG if body["max_tokens"] == output_tokens else None)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault.ERROR_500, "HTTP 500: EngineCore encountered an issue. See stack trace."),
        (Fault.OVERLOADED_503, "HTTP 503: The queue is full."),
        (Fault.TRUNCATED, "the answer was cut short"),
        (Fault.UNFINISHED, "the stream ended before [DONE]"),
        (Fault.GARBAGE, "the stream is garbled: b'{]'"),
        (Fault.ERROR_IN_STREAM, "error in the stream: The engine died."),
        (Fault.NO_USAGE, "the stream has no usage"),
        (Fault.ABORTED, "the server ended the answer with finish_reason 'abort'"),
        (Fault.HANG, "no whole answer within 1 s"),
        (Fault.SILENT, "no whole answer within 1 s"),
    ],
)
def test_an_answer_that_went_wrong_has_failed(fault: Fault, message: str) -> None:
    load = Load(workload=workload(2).at_rate(math.inf))
    with CompletionServer(lambda asked, _: faulty(asked, fault)) as server:
        run = offered(server, load, request_timeout_s=1.0)
    assert run.errors == {message: 1}
    assert [result.completed for result in run.results] == [True, False]


def faulty(body: dict[str, object], fault: Fault) -> Answer:
    return Answer(fault=fault if body["max_tokens"] == 5 else None)


def nowhere() -> Server:
    """A port that nobody listens on."""
    with CompletionServer() as server:
        return to(server)


def test_a_server_that_is_not_there_is_a_failure_of_every_request() -> None:
    run = offer(nowhere(), Load(workload=workload(3)), salt="salt")
    assert run.errors == {"cannot connect: Connection refused": 3}
    assert [result.completed for result in run.results] == [False] * 3


def test_a_server_that_ignores_lengths_is_refused() -> None:
    with (
        CompletionServer(Answer(output_tokens=3)) as server,
        pytest.raises(EngineError, match="the server ignores `ignore_eos`") as caught,
    ):
        offered(server, Load(workload=workload()))
    assert caught.value.failure.kind is FailureKind.HOST


def test_an_engine_in_trouble_is_noticed_while_requests_hang() -> None:
    sick = threading.Event()

    def script(*_: object) -> Answer:
        sick.set()
        return Answer(fault=Fault.SILENT)

    def trouble() -> Failure | None:
        return Failure(FailureKind.DIED, "exit status 0") if sick.is_set() else None

    before = children(), descriptors()
    with CompletionServer(script) as server, pytest.raises(EngineError, match="exit status 0"):
        offered(server, Load(workload=workload()), trouble=trouble)
    assert (children(), descriptors()) == before


def test_an_engine_that_breaks_its_connections_first_is_asked_once_more() -> None:
    asked = 0

    def trouble() -> Failure | None:
        nonlocal asked
        asked += 1
        return Failure(FailureKind.DIED, "killed") if asked > 100 else None

    with pytest.raises(EngineError, match="killed"):
        offer(
            nowhere(),
            Load(workload=workload(1)),
            salt="salt",
            trouble=lambda: trouble() or trouble() or trouble() or trouble() or trouble(),
        )


def test_nothing_is_left_after_a_run() -> None:
    before = children(), descriptors()
    with CompletionServer() as server:
        offered(server, Load(workload=workload()))
    assert (children(), descriptors()) == before


def test_nothing_is_left_after_an_interrupt() -> None:
    class Interrupted:
        def over(self, result: RequestResult, now_s: float) -> bool:
            raise KeyboardInterrupt

    before = children(), descriptors()
    with (
        CompletionServer(lambda asked, _: hanging(asked, 6)) as server,
        pytest.raises(KeyboardInterrupt),
    ):
        offered(server, Load(workload=workload(), watch=Interrupted))
    assert (children(), descriptors()) == before


def test_a_worker_ends_when_its_parent_is_gone() -> None:
    load = Load(workload=workload())
    with CompletionServer(Answer(fault=Fault.SILENT)) as server:
        [job] = jobs(
            to(server),
            load,
            salt="salt",
            workers=1,
            cores=frozenset(),
            request_timeout_s=600.0,
        )
        with subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:
            assert worker.stdin is not None
            assert worker.stdout is not None
            worker.stdin.write(job.line())
            worker.stdin.flush()
            assert worker.stdout.readline() == b'{"ready": true}\n'
            worker.stdin.write(f"{time.monotonic()!r}\n".encode())
            worker.stdin.close()
            assert worker.wait() == 0


def test_a_worker_that_dies_is_the_machines_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    dying = (sys.executable, "-c", "raise SystemExit('out of file descriptors')")
    monkeypatch.setattr("runners.load.shards.COMMAND", dying)
    with pytest.raises(EngineError, match="status 1: out of file descriptors") as caught:
        offer(nowhere(), Load(workload=workload()), salt="salt")
    assert caught.value.failure.kind is FailureKind.HOST


def test_a_warm_up_sends_requests_of_the_workload_all_at_once_with_other_prompts() -> None:
    load = Load(workload=workload())
    with CompletionServer() as server:
        offer(to(server), at_once(load.workload), salt="warm")
        warm = [exchange.body for exchange in server.exchanges]
        offered(server, load)
        all_of_them = [exchange.body for exchange in server.exchanges]
    lengths_asked = sorted(r.output_tokens for r in load.workload.requests)
    assert sorted(body["max_tokens"] for body in warm) == lengths_asked
    assert len({tuple(body["prompt"]) for body in all_of_them}) == 2 * len(warm)


def test_a_warm_up_of_steps_sends_a_prompt_of_every_length_that_the_workload_makes() -> None:
    two = Workload(name="two", requests=(Request(0.0, 3, 1), Request(1.0, 4, 1)))
    with CompletionServer() as server:
        offer(to(server), every_step(two, max_model_len=100), salt="warm")
    assert [len(exchange.body["prompt"]) for exchange in server.exchanges] == [1, 2, 3, 4, 5, 6, 7]
    assert len(every_step(two, max_model_len=5).workload.requests) == 4
    many = replace(two, requests=(Request(0.0, 4, 1),) * 100)
    assert len(every_step(many, max_model_len=8192).workload.requests) == 256
    assert len(every_step(many, max_model_len=100).workload.requests) == 99


def test_a_server_of_texts_gets_prompts_that_it_counts_as_asked_for() -> None:
    requests = tuple(Request(0.0, 100 + i, 4, (i % 2,)) for i in range(4))
    load = Load(workload=Workload(name="w", requests=requests, block_tokens=32))
    with CompletionServer(token_ids=False) as server:
        run = offer(to(server, vocab_size=None), load, salt="salt")
    assert lengths(run) == asked(load)
    shared = [e.body["prompt"].split()[:32] for e in server.exchanges[2:]]
    assert len({" ".join(block) for block in shared}) == 2


def test_a_server_that_does_not_count_texts_is_said_to() -> None:
    with (
        CompletionServer(Answer(fault=Fault.NO_USAGE)) as server,
        pytest.raises(EngineError, match=r"how many tokens.*: the stream has no usage"),
    ):
        offer(to(server, vocab_size=None), Load(workload=workload()), salt="salt")


def test_a_server_that_takes_no_token_ids_says_so_in_the_errors() -> None:
    with CompletionServer(token_ids=False) as server:
        run = offered(server, Load(workload=workload()))
    assert run.errors == {"HTTP 400: `prompt` must be a string.": 6}


def test_the_api_key_is_sent_and_never_said(monkeypatch: pytest.MonkeyPatch) -> None:
    load = Load(workload=workload())
    monkeypatch.setenv("SOME_KEY", "sk-secret")
    with CompletionServer(api_key="sk-secret") as server:
        assert offer(to(server, api_key_env="SOME_KEY"), load, salt="salt").errors == {}
    with CompletionServer(api_key="another") as server:
        errors = offer(to(server, api_key_env="SOME_KEY"), load, salt="salt").errors
    assert errors == {"HTTP 401: This API key is not valid: Bearer ***.": 6}


def test_a_missing_api_key_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOME_KEY", raising=False)
    with pytest.raises(EngineError, match="`SOME_KEY` must hold the server's API key"):
        offer(replace(nowhere(), api_key_env="SOME_KEY"), Load(workload=workload()), salt="salt")


def test_shards_share_one_start_and_send_every_request_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("runners.load.offering.CHUNKS_PER_S", 1)
    cores = frozenset(os.sched_getaffinity(0))
    load = Load(workload=workload(12))
    assert workers(load.workload, cores) == min(len(cores), 12)
    with CompletionServer() as server:
        run = offered(server, load, cores=cores)
    assert lengths(run) == asked(load)
    assert len(server.exchanges) == 12


def test_workers_follow_the_chunks_to_come_and_the_cores_there_are() -> None:
    cores = frozenset(range(8))
    fast = Workload(name="w", requests=tuple(Request(i / 100, 8, 400) for i in range(600)))
    assert workers(fast, cores) == math.ceil(100 * 400 / 15_000)
    assert workers(fast, frozenset({0})) == 1
    assert workers(fast.at_rate(1.0), cores) == 1
    assert workers(fast.at_rate(math.inf), cores) == 4
    assert workers(fast.at_concurrency(256), cores) == 1


def test_sigint_to_the_group_of_the_parent_does_not_reach_workers() -> None:
    """A terminal sends it to everybody; the parent alone decides what then happens."""
    received = threading.Event()

    def script(*_: object) -> Answer:
        received.set()
        return Answer(ttft_s=0.2)

    with CompletionServer(script) as server:
        groups: set[int] = set()

        def trouble() -> Failure | None:
            groups.update(os.getpgid(int(pid)) for pid in children())
            return None

        offered(server, Load(workload=workload(1)), trouble=trouble)
    assert os.getpgid(0) not in groups
    assert groups
