import math

import pytest

from objectives import Load, Request, RequestResult, Workload
from tests.tuner.screens import VALUES, Clock, redrawn, screen
from tuner.progress.running import Running, load_words
from tuner.progress.words import spaced

WORKLOAD = Workload(name="chat", requests=tuple(Request(i / 7.5, 8, 3) for i in range(600)))
OFFERED = Load(workload=WORKLOAD, purpose="offered")
AT_ONCE = Load(workload=WORKLOAD.at_rate(math.inf))


def answered(ttft_ms: float, tpot_ms: float) -> RequestResult:
    return RequestResult(0.0, 8, 3, ttft_ms, ttft_ms + 2 * tpot_ms)


@pytest.mark.parametrize(
    ("load", "words"),
    [
        (OFFERED, "offered at 7.5 req/s"),
        (Load(workload=WORKLOAD.at_concurrency(8), purpose="offered"), "offered with 8 in flight"),
        (
            Load(workload=WORKLOAD.at_rate(18.02), purpose="capacity probe"),
            "capacity probe at 18 req/s",
        ),
        (
            Load(workload=WORKLOAD.at_concurrency(64), purpose="capacity probe"),
            "capacity probe with 64 in flight",
        ),
        (AT_ONCE, "all at once"),
    ],
)
def test_a_load_in_words(load: Load, words: str) -> None:
    assert spaced(load_words(load)) == words


def test_a_run_tells_its_load_then_how_much_is_done_and_what_was_seen() -> None:
    clock = Clock()
    running = Running(clock)
    clock.now_s += 42
    told = [running.words(named=False)]
    running.begins(OFFERED)
    told.append(running.words(named=False))
    clock.now_s += 2
    told.append(running.words(named=False))
    for ttft_ms in range(1, 102):
        running.hear(answered(float(ttft_ms), 20.0))
    clock.now_s += 10
    told.append(running.words(named=False))
    running.hear(RequestResult(0.0, 8, 3))
    told.append(running.words(named=True))
    running.begins(AT_ONCE)
    told.append(running.words(named=True))
    running.launches()
    told.append(running.words(named=True))
    assert [spaced(words) for words in told] == [
        "launching, 42 s",
        "offered at 7.5 req/s: 600 requests",
        "offered at 7.5 req/s, 2 s: 600 requests",
        "offered at 7.5 req/s, 12 s: 101 of 600 requests done, so far p95 TTFT 96 ms, "
        "p95 TPOT 20 ms",
        "chat, offered at 7.5 req/s, 12 s: 101 of 600 requests done, 1 failed, so far p95 TTFT "
        "96 ms, p95 TPOT 20 ms",
        "chat, all at once: 600 requests",
        "launching",
    ]


def test_answers_of_one_token_have_no_tpot_and_a_run_of_failures_no_percentile() -> None:
    running = Running(Clock())
    running.begins(OFFERED)
    running.hear(RequestResult(0.0, 8, 1, 30.0, 30.0))
    one = running.words(named=False)
    running.begins(OFFERED)
    running.hear(RequestResult(0.0, 8, 3))
    assert [spaced(one), spaced(running.words(named=False))] == [
        "offered at 7.5 req/s: 1 of 600 requests done, so far p95 TTFT 30 ms",
        "offered at 7.5 req/s: 0 of 600 requests done, 1 failed",
    ]


def test_a_terminal_shows_the_run_below_the_trial_until_it_has_its_answer() -> None:
    console, clock, live = screen(120, axes={"chat": VALUES, "rag": VALUES})
    with live:
        live.trying(0, {"max_num_seqs": 64}, "default")
        live.measuring(OFFERED)
        live.heard(answered(213.0, 21.2))
        clock.now_s += 3
        drawn = redrawn(live, console)
    assert drawn[:3] == [
        "no trial done yet, 3 s",
        "trying trial 0 (default): seqs 64",
        "chat, offered at 7.5 req/s, 3 s: 1 of 600 requests done, so far p95 TTFT 213 ms, "
        "p95 TPOT 21.2 ms",
    ]
