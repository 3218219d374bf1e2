import io
import sys
from typing import Any

import pytest

from objectives import Judgement, Quadrant, Verdict
from results.record import TrialRecord
from tests.tuner.screens import (
    BROKEN,
    CONFIG,
    MET,
    NOBODY,
    Clock,
    frame,
    screen,
    state,
    trial,
    written,
)
from tuner.progress import Progress, State, progress
from tuner.progress.lines import Lines
from tuner.progress.live import Live
from tuner.progress.silent import Silent
from tuner.progress.state import Pace

WORSE = Judgement(limit=40.0, value=90.0, share=0.1, verdict=Verdict.BROKEN, excess=1.2)
OPEN = Judgement(limit=40.0, value=40.0, share=0.95, verdict=Verdict.UNDECIDED, excess=0.0)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def line(*records: TrialRecord, state: State, **known: Any) -> str:
    """What one answer prints, without its end."""
    stream = io.StringIO()
    best = known.pop("best", NOBODY)
    with progress(quiet=False, json=False, stream=stream, **known) as shown:
        shown.trying(records[0].number, records[0].config, records[0].origin)
        shown.tried(records, best, state)
    return stream.getvalue().removesuffix("\n")


def test_a_trial_is_one_line_where_there_is_no_terminal() -> None:
    assert line(trial(), state=state()) == (
        "7/40  trial 6  tp2 seqs 256 tokens 8192 wait 0  met  p95 TTFT 212 ms  "
        "capacity 31.2 req/s  ETA 7 min 42 s"
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sla": {"p95_ttft_ms<=500": MET, "a<=40": BROKEN, "b<=40": WORSE}}, "broken b<=40"),
        ({"sla": {"p95_ttft_ms<=500": OPEN}}, "undecided p95_ttft_ms<=500"),
        ({"sla": {}}, "met"),
    ],
)
def test_a_line_names_the_bound_that_is_missed_by_most(changes: Any, said: str) -> None:
    assert line(trial(loads={}, **changes), state=state(40)) == (
        f"40/40  trial 6  tp2 seqs 256 tokens 8192 wait 0  {said}"
    )


def test_a_line_says_why_a_config_could_not_be_served() -> None:
    failure = {"kind": "out of memory", "detail": "the KV cache would hold 0 tokens"}
    failed = trial(0, origin="default", loads={}, sla={}, failure=failure)
    assert line(failed, state=state(1, planned=None)) == (
        "1  trial 0 (default)  tp2 seqs 256 tokens 8192 wait 0  out of memory"
    )


def test_a_line_on_several_objectives_has_the_verdict_of_each() -> None:
    records = [trial(), trial(objective="rag", sla={"p95_ttft_ms<=40": BROKEN})]
    assert line(*records, state=state(40)) == (
        "40/40  trial 6  tp2 seqs 256 tokens 8192 wait 0  chat met  rag broken p95_ttft_ms<=40"
    )


def test_a_line_says_which_quadrants_the_trial_now_leads() -> None:
    best = {**NOBODY, Quadrant.LIVE_AT_SCALE: trial(), Quadrant.BULK: trial()}
    best[Quadrant.ECONOMY] = trial(2)
    assert line(trial(), state=state(40), best=best).endswith("  best of I, IV")


def test_a_budget_sets_the_pace_where_it_ends_first() -> None:
    pressed = state(2, engine_s=600.0, budget_s=1800.0, elapsed_s=3.0)
    # Six trials fit into the budget; the four left take twice as long as both so far.
    one = line(trial(), state=pressed)
    assert one.endswith("  engine time 10 min of 30 min  ETA 12 s")


def test_the_pace_of_a_resumed_study_is_that_of_its_own_run() -> None:
    stream = io.StringIO()
    with Lines(stream, ["max_num_seqs"]) as shown:
        shown.tried([trial(20)], NOBODY, state(21, elapsed_s=10.0))
        shown.tried([trial(21)], NOBODY, state(22, elapsed_s=18.0))
    ends = [text.rsplit("  ", 1)[1] for text in stream.getvalue().splitlines()]
    assert ends == ["ETA 3 min 10 s", "ETA 2 min 42 s"]


@pytest.mark.parametrize(
    ("done", "elapsed_s", "said"),
    [
        (39, 0.3, "ETA <1 s"),
        (40, 0.3, "capacity 31.2 req/s"),
        (41, 9.0, "capacity 31.2 req/s"),
    ],
)
def test_no_time_is_left_to_tell_at_the_end(done: int, elapsed_s: float, said: str) -> None:
    assert line(trial(), state=state(done, elapsed_s=elapsed_s)).rsplit("  ", 1)[1] == said


def test_the_knobs_shown_can_be_chosen() -> None:
    config = {**CONFIG, "batch_wait_timeout_ms": 20, "gpu_memory_utilization": 0.9}
    knobs = ["batch_wait_timeout_ms", "gpu_memory_utilization", "kv_cache_dtype", "unknown"]
    assert line(trial(config=config, loads={}), state=state(40), knobs=knobs) == (
        "40/40  trial 6  wait 20 ms mem 0.9 kv_cache_dtype auto  met"
    )


def test_a_line_says_why_a_trial_was_stopped() -> None:
    stopped = trial(stopped_early=True, why_stopped="later first tokens, less capacity")
    assert line(stopped, state=state(40)) == (
        "40/40  trial 6  tp2 seqs 256 tokens 8192 wait 0  "
        "stopped: later first tokens, less capacity"
    )


def test_each_launch_that_confirms_is_a_line_with_the_time_that_is_left() -> None:
    stream, clock = io.StringIO(), Clock()
    with Lines(stream, [], clock) as shown:
        for done, arm, pair in ((3, "default", 2), (4, "trial 7", 2), (7, "default", 4)):
            shown.confirming(done, 10, arm, pair)
            clock.now_s += 20
    assert stream.getvalue().splitlines() == [
        "confirming 4/10  pair 2  default",
        "confirming 5/10  pair 2  trial 7  ETA 2 min",
        # Four have taken 40 s since the first of this run.
        "confirming 8/10  pair 4  default  ETA 30 s",
    ]


def test_the_pace_of_what_is_counted_is_that_since_it_began() -> None:
    clock = Clock()
    pace = Pace(clock)
    assert pace.eta_s(0, 10) is None
    pace.begins(2)
    assert pace.eta_s(2, 10) is None
    clock.now_s += 30
    pace.begins(3)
    assert pace.eta_s(3, 10) == 7 * 30.0
    clock.now_s += 10
    assert pace.eta_s(4, 10) == 6 * 20.0
    assert pace.eta_s(10, 10) == 0.0


def test_a_note_is_a_line_of_its_own() -> None:
    stream = io.StringIO()
    with progress(quiet=False, json=False, stream=stream) as shown:
        shown.note("Offered: 7.5 req/s, 70 % of the default config's capacity.")
    assert stream.getvalue() == "Offered: 7.5 req/s, 70 % of the default config's capacity.\n"


@pytest.mark.parametrize(("quiet", "json"), [(True, False), (False, True), (True, True)])
def test_nothing_is_shown_when_quiet_or_when_json_is_wanted(quiet: bool, json: bool) -> None:
    stream = Terminal()
    with progress(quiet=quiet, json=json, stream=stream) as shown:
        assert isinstance(shown, Silent)
        shown.note("unseen")
        shown.trying(0, CONFIG, "default")
        shown.tried([trial()], NOBODY, state())
        shown.confirming(0, 10, "default", 1)
    assert stream.getvalue() == ""


@pytest.mark.parametrize(
    ("stream", "terminal", "ci", "kind"),
    [
        (Terminal(), "xterm", "", Live),
        (Terminal(), "xterm", "false", Live),
        (Terminal(), "xterm", "true", Lines),
        (Terminal(), "dumb", "", Lines),
        (io.StringIO(), "xterm", "", Lines),
    ],
)
def test_a_live_view_needs_a_terminal_that_keeps_no_log(
    stream: io.StringIO, terminal: str, ci: str, kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", terminal)
    monkeypatch.setenv("CI", ci)
    assert isinstance(progress(quiet=False, json=False, stream=stream), kind)


def test_progress_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(quiet=False, json=False) as shown:
        shown.note("one")
    assert capsys.readouterr() == ("", "one\n")


def study(shown: Progress, clock: Clock) -> None:
    """One trial done, five seconds into the next."""
    shown.note("Offered: 7.5 req/s [70 %].")
    shown.trying(6, CONFIG, "sampler")
    best = {**NOBODY, Quadrant.INTERACTIVE: trial(), Quadrant.ECONOMY: trial(2)}
    shown.tried([trial()], best, state(engine_s=700.0, budget_s=7200.0))
    clock.now_s += 5
    shown.trying(7, CONFIG, "preset")


def test_a_terminal_shows_how_far_the_study_is_and_who_leads() -> None:
    console, clock, live = screen(120)
    with live:
        study(live, clock)
        drawn = frame(console)
    assert drawn == [
        "7 of 40 trials done, 19 s, ETA 7 min 37 s, engine time 11 min 40 s of 2 h",
        "trial 6: met, p95 TTFT 212 ms, capacity 31.2 req/s",
        "trying trial 7 (preset): tp2 seqs 256",
        "launching",
        "     quadrant       best so far      trial",
        "I    live-at-scale  -                    -",
        "II   interactive    212 ms p95 TTFT      6",
        "III  economy        1 GPU                2",
        "IV   bulk           -                    -",
    ]
    assert "Offered: 7.5 req/s [70 %].\n" in written(console)


def test_a_terminal_shows_which_launch_confirms_below_the_trials() -> None:
    console, clock, live = screen(120)
    with live:
        study(live, clock)
        live.confirming(0, 10, "default", 1)
        clock.now_s += 12
        live.confirming(1, 10, "trial 6", 1)
        drawn = frame(console)
    assert drawn[1:5] == [
        "trial 6: met, p95 TTFT 212 ms, capacity 31.2 req/s",
        "confirming 2/10  pair 1  trial 6  ETA 1 min 48 s",
        "launching",
        "     quadrant       best so far      trial",
    ]


def test_before_the_first_answer_a_terminal_shows_what_is_being_tried() -> None:
    console, clock, live = screen(60)
    with live:
        clock.now_s += 72
        live.trying(0, CONFIG, "default")
        drawn = frame(console)
    assert drawn[:2] == [
        "no trial done yet, 1 min 12 s",
        "trying trial 0 (default): tp2 seqs 256",
    ]


@pytest.mark.parametrize("width", [1, 5, 20, 60, 300])
def test_a_terminal_of_any_width_will_do(width: int) -> None:
    console, clock, live = screen(width)
    with live:
        study(live, clock)
        assert frame(console)


@pytest.mark.parametrize("width", [60, 300])
def test_a_terminal_that_is_wide_enough_shows_every_figure(width: int) -> None:
    console, clock, live = screen(width)
    with live:
        study(live, clock)
        words = " ".join(frame(console))
    for fact in ("7 of 40 trials", "engine time 11 min 40 s of 2 h", "212 ms p95 TTFT", "1 GPU"):
        assert fact in words


def test_an_interrupt_leaves_the_terminal_as_it_was_and_the_last_state_in_it() -> None:
    console, clock, live = screen(60)
    stderr = sys.stderr

    def cut_off() -> None:
        with live:
            study(live, clock)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cut_off()
    text = written(console)
    assert text.rstrip().endswith("\x1b[?25h")
    assert "\x1b[2K" not in text[text.rindex("bulk") :]
    assert sys.stderr is stderr


def test_a_study_that_ends_clears_its_table_for_the_answer() -> None:
    console, clock, live = screen(60)
    with live:
        study(live, clock)
    text = written(console)
    assert "\x1b[2K" in text[text.rindex("bulk") :]
