"""Whole screens of the live view, at sizes that terminals have."""

import io

import pytest

from objectives import Goal, Load, Quadrant, Request, RequestResult, Workload
from tests.tuner.screens import (
    CONFIG,
    NOBODY,
    VALUES,
    Clock,
    at,
    frame,
    redrawn,
    screen,
    state,
    tried,
    written,
)
from tuner.progress import Progress

BEST = {
    **NOBODY,
    Quadrant.LIVE_AT_SCALE: tried()[2],
    Quadrant.INTERACTIVE: tried()[1],
    Quadrant.ECONOMY: tried()[0],
    Quadrant.BULK: tried()[2],
}
LOAD = Load(
    workload=Workload(name="chat", requests=tuple(Request(i / 67.2, 8, 3) for i in range(600))),
    purpose="offered",
)
AXES = {"chat": VALUES}


WIDE = """\
6 of 40 trials done, 24 s, ETA 56 s, engine time 11 min 40 s of 2 h
trial 5: broken p95_ttft_ms<=500, p95 TTFT 900 ms, capacity 32 req/s
trying trial 6: tp2 seqs 256
offered at 67.2 req/s, 12 s: 87 of 600 requests done, so far p95 TTFT 182 ms, p95 TPOT 20 ms
     quadrant       best so far     trial    p95 TTFT, ms (log)                                                D default  o front  . dominated  x breaks the SLA
I    live-at-scale  24 req/s/GPU        2    900 |x
II   interactive    60 ms p95 TTFT      1        |
III  economy        3 GPUs              0        |
IV   bulk           4800 tok/s/GPU      2        |
                                                 |
                                                 |
                                                 |
                                                 |
                                             232 |
                                                 |                                                                                                             o
                                                 |                                                             .
                                                 |
                                                 |                                                                                  D
                                                 |                                                                                         o
                                                 |
                                              60 |                                                      o
                                                 +------------------------------------------------------------------------------------------ capacity, req/s/GPU
                                                  8                                                     16                                                    24
"""  # noqa: E501


def study(shown: Progress, clock: Clock) -> None:
    """Six trials done, twelve seconds into the load of the next."""
    for done, record in enumerate(tried(), 1):
        shown.trying(record.number, CONFIG, record.origin)
        shown.tried([record], BEST, state(done, budget_s=7200.0, elapsed_s=2.0 * done))
    shown.trying(6, CONFIG, "sampler")
    shown.measuring(LOAD)
    for ttft_ms in range(87):
        shown.heard(RequestResult(0.0, 8, 3, 100.0 + ttft_ms, 140.0 + ttft_ms))
    clock.now_s += 12


def shown(width: int, height: int) -> list[str]:
    console, clock, live = screen(width, height, axes=AXES)
    with live:
        study(live, clock)
        return redrawn(live, console)


def test_a_terminal_of_80_columns_shows_the_frontier_above_the_best() -> None:
    assert shown(80, 24) == [
        "6 of 40 trials done, 24 s, ETA 56 s, engine time 11 min 40 s of 2 h",
        "trial 5: broken p95_ttft_ms<=500, p95 TTFT 900 ms, capacity 32 req/s",
        "trying trial 6: tp2 seqs 256",
        "offered at 67.2 req/s, 12 s: 87 of 600 requests done, so far p95 TTFT 182 ms,",
        "p95 TPOT 20 ms",
        "p95 TTFT, ms (log)             D default  o front  . dominated  x breaks the SLA",
        "900 |x",
        "    |",
        "    |",
        "    |",
        "232 |",
        "    |                                                                          o",
        "    |                                          .",
        "    |                                                        D",
        "    |                                                            o",
        " 60 |                                     o",
        "    +------------------------------------------------------- capacity, req/s/GPU",
        "     8                                   16                                   24",
        "     quadrant       best so far     trial",
        "I    live-at-scale  24 req/s/GPU        2",
        "II   interactive    60 ms p95 TTFT      1",
        "III  economy        3 GPUs              0",
        "IV   bulk           4800 tok/s/GPU      2",
    ]


def test_a_terminal_of_160_columns_shows_the_frontier_beside_the_best() -> None:
    assert shown(160, 30) == WIDE.splitlines()


@pytest.mark.parametrize(("width", "height"), [(79, 24), (80, 19), (160, 19), (40, 50)])
def test_a_small_terminal_shows_all_but_the_frontier(width: int, height: int) -> None:
    lines = shown(width, height)
    words = " ".join(lines)
    assert not [line for line in lines if " |" in line]
    for fact in ("6 of 40 trials", "trying trial 6", "87 of 600 requests done", "24 req/s/GPU"):
        assert fact in " ".join(words.split())


@pytest.mark.parametrize("height", range(20, 60, 3))
@pytest.mark.parametrize("width", [80, 119, 120, 200])
def test_nothing_is_wider_or_higher_than_the_terminal(width: int, height: int) -> None:
    lines = shown(width, height)
    assert len(lines) < height
    assert max(map(len, lines)) <= width
    assert sum(" |" in line for line in lines) >= 3


def test_without_colour_the_marks_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    coloured = shown(80, 24)
    monkeypatch.setenv("NO_COLOR", "1")
    console, clock, live = screen(80, 24, axes=AXES)
    with live:
        study(live, clock)
        assert redrawn(live, console) == coloured
    assert "\x1b[1;32mo" not in written(console)


def test_colour_tells_the_front_from_the_rest() -> None:
    console, clock, live = screen(80, 24, axes=AXES, color_system="standard", no_color=False)
    with live:
        study(live, clock)
    styles = {mark: f"\x1b[{code}m{mark}\x1b[0m" for mark, code in (("D", 1), ("x", 2), (".", 2))}
    for styled in (*styles.values(), "\x1b[1;32mo\x1b[0m"):
        assert styled in written(console)


def test_a_terminal_that_knows_ascii_alone_will_do() -> None:
    buffer = io.BytesIO()
    stream = io.TextIOWrapper(buffer, encoding="ascii", errors="strict", write_through=True)
    _, clock, live = screen(160, 30, axes=AXES, file=stream)
    with live:
        study(live, clock)
    assert buffer.getvalue().isascii()


def test_a_terminal_made_narrower_is_drawn_anew_and_wider_drawn_over() -> None:
    console, clock, live = screen(160, 30, axes=AXES)
    with live:
        study(live, clock)
        console.size = (80, 24)
        narrower = redrawn(live, console)
        console.size = (160, 30)
        wider = redrawn(live, console)
    assert narrower == shown(80, 24)
    assert wider == shown(160, 30)
    assert written(console).count("\x1b[2J\x1b[H") == 1


def test_several_objectives_take_turns() -> None:
    axes: dict[str, tuple[Goal, Goal]] = {"rag": VALUES, "chat": VALUES}
    console, _, live = screen(80, 24, axes=axes)
    titles = []
    with live:
        for number in range(3):
            records = [at(number, 9.0, 50.0, objective=name) for name in axes]
            live.tried(records, NOBODY, state(number + 1))
            titles.append(
                next(line.split(",")[0] for line in frame(console) if "TTFT, ms" in line)
            )
    assert titles == ["chat: p95 TTFT", "rag: p95 TTFT", "chat: p95 TTFT"]


def test_a_study_taken_up_again_begins_with_what_it_knows() -> None:
    console, _, live = screen(80, 24, axes=AXES, known=tried())
    with live:
        live.trying(6, CONFIG, "sampler")
        drawn = [line for line in frame(console) if " |" in line]
    marks = "".join(drawn).translate(str.maketrans("", "", "0123456789 |"))
    assert sorted(marks) == sorted("Dooo.x")
