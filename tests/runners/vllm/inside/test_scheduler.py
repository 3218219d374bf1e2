"""The scheduler inside a real engine does, step by step, what the simulated one does."""

from typing import Any

import pytest

from objectives import Request
from runners.simulated.kv_cache import KVCache
from runners.simulated.replica import Replica, StepEvent
from runners.simulated.scheduler import Scheduler
from runners.simulated.sequence import Sequence
from runners.simulated.settings import SchedulerSettings
from runners.simulated.step_time import StepTime


class _Millisecond(StepTime):
    source = "a test"
    uncertainty = "exact"

    def step_ms(self, *composition: float) -> float:
        return 1.0


def simulated(requests: list[tuple[str, int, int]], **settings: Any) -> list[str]:
    """The steps of the simulated engine, all requests waiting from the start."""
    log: list[str] = []

    def observe(event: StepEvent) -> None:
        names = [name for name, *_ in requests]
        chunks = [f"{names[who]}:{tokens}" for who, tokens in event.prefills]
        decodes = [names[who] for who in event.decodes]
        parts = {"prefill": chunks, "decode": decodes}
        log.append(" ".join(f"{part} {' '.join(who)}" for part, who in parts.items() if who))

    options = {"max_num_seqs": 64, "max_num_batched_tokens": 1024} | settings
    cache = KVCache(10_000, group_blocks=1, prefix_caching=False)
    scheduler = Scheduler(SchedulerSettings(**options), cache, group_tokens=16)
    replica = Replica(scheduler, _Millisecond(), observe)
    for number, (_, prompt, answer) in enumerate(requests):
        replica.add(Sequence(number, Request(0.0, prompt, answer), arrival_s=0.0))
    while replica.busy:
        replica.advance(1e9)
    return log


QUEUED = [("a", 300, 9), ("b", 40, 4), ("c", 150, 12), ("d", 8, 2), ("e", 64, 1), ("f", 200, 7)]


@pytest.mark.parametrize("policy", ["continuous", "prefill_first", "decode_first", "static"])
@pytest.mark.parametrize("threshold", [0, 48])
def test_queued_requests_take_the_steps_of_the_simulated_engine(
    engine: Any, policy: str, threshold: int
) -> None:
    knobs = {
        "max_num_seqs": 4,
        "max_num_batched_tokens": 128,
        "batch_policy": policy,
        "long_prefill_token_threshold": threshold,
    }
    engine.turn(**knobs)
    assert engine.serve(*QUEUED) == engine.shown(simulated(QUEUED, **knobs))


@pytest.mark.parametrize("policy", ["continuous", "prefill_first", "decode_first", "static"])
def test_under_a_waiting_timeout_the_steps_are_those_of_the_simulated_engine(
    engine: Any, policy: str
) -> None:
    # Enough of them wait to start until one is left, with more free slots than it fills: the
    # timeout alone lets that one in, when all the others have long been served.
    knobs = {
        "max_num_seqs": 3,
        "max_num_batched_tokens": 128,
        "batch_policy": policy,
        "batch_wait_timeout_ms": 2000,
        "batch_wait_min_requests": 2,
    }
    engine.turn(**knobs)
    requests = [*((name, 30, 5) for name in "abc"), ("d", 200, 6), ("e", 20, 6), ("f", 30, 2)]
    assert engine.serve(*requests) == engine.shown(simulated(requests, **knobs))


def test_a_request_alone_waits_at_least_the_timeout(engine: Any) -> None:
    engine.turn(batch_wait_timeout_ms=400)
    queued_s = engine.now_s()
    engine.send("a", 20, 2).result(60)
    first, last = engine.steps()
    assert [engine.line(first), engine.line(last)] == ["prefill a:20", "decode a"]
    assert first.start_s - queued_s >= 0.4


def test_the_wait_ends_when_enough_requests_wait(engine: Any) -> None:
    engine.turn(batch_wait_timeout_ms=5000, batch_wait_min_requests=3)
    sent = [engine.send(name, 20, 1) for name in "ab"]
    assert engine.turn()["waiting"] == 2
    sent.append(engine.send("c", 20, 1))
    assert [answer.result(60) for answer in sent] == [1, 1, 1]
    assert engine.lines() == ["prefill a:20 b:20 c:20"]


def test_a_knob_turned_while_requests_wait_lets_them_in(engine: Any) -> None:
    engine.turn(batch_wait_timeout_ms=5000)
    sent = [engine.send(name, 20, 1) for name in "ab"]
    assert engine.turn()["waiting"] == 2
    engine.turn(batch_wait_min_requests=2)
    assert [answer.result(60) for answer in sent] == [1, 1]
    assert engine.lines() == ["prefill a:20 b:20"]


def test_a_held_request_that_is_given_up_is_forgotten(engine: Any) -> None:
    engine.turn(batch_wait_timeout_ms=5000)
    engine.abandon("a", 20, 1)
    engine.until(lambda: engine.turn()["waiting"] == 0)
    engine.turn(batch_wait_timeout_ms=0)
    assert engine.serve(("b", 30, 1)) == ["prefill b:30"]


def test_an_engine_that_only_holds_requests_sleeps(engine: Any) -> None:
    engine.turn(batch_wait_timeout_ms=2000)
    before_s = engine.cpu_s()
    engine.send("a", 20, 1).result(60)
    # Of two seconds; it polled for 0.6 of them if it stepped every millisecond.
    assert engine.cpu_s() - before_s < 0.4


def test_lowered_knobs_let_running_requests_finish(engine: Any) -> None:
    answers = [engine.send(name, 20, 150) for name in "ab"]
    engine.until(lambda: engine.turn()["running"] == 2)
    engine.turn(max_num_seqs=1)
    answers.append(engine.send("c", 20, 1))
    assert [answer.result(60) for answer in answers] == [150, 150, 1]
    assert engine.lines()[-1] == "prefill c:20"


def test_bad_knobs_change_nothing(engine: Any) -> None:
    before = engine.turn()
    bad = {"batch_policy": "static", "max_num_seqs": 65}
    assert engine.http("POST", "/paretune/knobs", bad) == (
        400,
        {"error": "`1 <= max_num_seqs <= 64` must hold, but got max_num_seqs=65."},
    )
    assert engine.http("GET", "/paretune/knobs") == (200, before)
    assert engine.http("GET", "/paretune/knobs", token="guessed")[0] == 401


def test_the_step_log_counts_what_was_sent(engine: Any) -> None:
    engine.turn(max_num_batched_tokens=128)
    engine.serve(("a", 200, 3), ("b", 56, 2))
    steps = engine.last_steps
    figures = [
        (s.n_prefills, s.prefill_tokens, s.prefill_attention, s.n_decodes, s.decode_kv_tokens)
        for s in steps
    ]
    assert figures == [
        (1, 128, 128 * 64, 0, 0),
        (2, 128, 72 * 164 + 56 * 28, 0, 0),
        (0, 0, 0, 2, 201 + 57),
        (0, 0, 0, 1, 202),
    ]
    assert [(s.running, s.waiting, s.preemptions) for s in steps] == [
        (1, 1, 0),
        (2, 0, 0),
        (2, 0, 0),
        (1, 0, 0),
    ]
    ends_s = [s.start_s + s.schedule_s + s.model_s + s.post_s for s in steps]
    assert all(end <= step.start_s for end, step in zip(ends_s, steps[1:], strict=False))
