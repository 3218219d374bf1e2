"""Studies held against each other: which changes are told, and which cannot be."""

import json
from collections.abc import Sequence
from dataclasses import astuple, replace
from typing import Any

import pytest

from objectives import Quadrant
from objectives.quadrant import CAPACITY, FIRST_TOKEN
from results.across import Across, compare
from results.change import Change
from results.comparison import Effect, holm, paired, welch
from results.confirmation import DEFAULT, Finalist, confirm
from results.record import TrialRecord
from results.sides import Side, Traffic
from results.summary import summarise
from tests.results.test_summary import FACTS, INTERACTIVE, LIVE, SLA, STOCK, trial

TRAFFIC = Traffic(
    source="azure.csv",
    requests=600,
    request_rate=7.5,
    concurrency=None,
    input_tokens=1100.0,
    output_tokens=210.0,
    prefix_share=0.0,
)
ABOUT: dict[str, Any] = {
    "quadrant": "interactive",
    "sla": {name: "the objective" for name in SLA.split(",")},
}
CHAT = Finalist(quadrant=INTERACTIVE, objective="chat", trial=1, goal=FIRST_TOKEN)
MORE = Finalist(quadrant=LIVE, objective="chat", trial=1, goal=CAPACITY)
WOBBLE = (0.98, 1.0, 1.02, 0.99, 1.01)
"""Of five runs, each beside the middle of all."""


def side(
    label: str = "A",
    *,
    ttft_ms: float = 200.0,
    capacity: float = 3.0,
    default_ttft_ms: float = 400.0,
    wobble: Sequence[float] = WOBBLE,
    traffic: Traffic = TRAFFIC,
    gpus: int = 4,
    **facts: Any,
) -> Side:
    """A study whose trial 1 wins everything, confirmed once for each of ``wobble``."""
    searched = [trial(0, ttft_ms=default_ttft_ms), trial(1, ttft_ms=ttft_ms, seqs=64)]
    searched[1] = replace(searched[1], loads=_loads(ttft_ms, capacity))
    runs = [
        run
        for pair, off in enumerate(wobble)
        for run in (
            _run(DEFAULT, 0, pair, _loads(default_ttft_ms, 2.0)),
            _run("trial 1", 1, pair, _loads(ttft_ms * off, capacity * off)),
        )
    ]
    about = replace(
        FACTS,
        **{"workloads": {"chat": ABOUT}, "hardware": {"gpu": "l4", "gpus": gpus}, **facts},
    )
    found = confirm((MORE, CHAT), runs)
    summary = summarise(about, searched, STOCK, wall_s=1.0, confirmed=found, runs=runs)
    return Side(
        label=label,
        folder=f"studies/{label}",
        begun="2026-11-30 19:03 UTC",
        state="finished",
        summary=summary,
        traffic={"chat": traffic},
        runs=runs,
    )


def _loads(ttft_ms: float, capacity: float) -> Any:
    return {
        "offered": {"p95_ttft_ms": ttft_ms, "output_throughput_per_gpu": 500.0},
        "capacity": {
            "capacity_per_gpu": capacity,
            "gpus_needed": 2,
            "output_throughput_per_gpu": 1000.0,
        },
    }


def _run(arm: str, number: int, pair: int, loads: Any) -> TrialRecord:
    return trial(number, origin="confirm", arm=arm, pair=pair, loads=loads)


def change(*sides: Side, quadrant: Quadrant = INTERACTIVE) -> Change:
    (found,) = compare(sides).of(quadrant)
    return found


def effects(across: Across) -> dict[str, list[str]]:
    """What is said of each quadrant: of the winner, and of its gain over the default."""
    return {
        c.quadrant: [str(t.effect) if t else "-" for t in (c.level, c.over_default)]
        for c in across.changes
    }


def test_a_change_that_chance_does_not_explain_is_told_with_welchs_interval() -> None:
    found = change(side(), side("B", ttft_ms=100.0))
    runs = [[200.0 * off for off in WOBBLE], [100.0 * off for off in WOBBLE]]
    assert found.level is not None
    expected = welch(runs[1], runs[0])
    assert astuple(found.level.comparison) == pytest.approx(astuple(expected))
    assert (found.level.effect, found.runs, found.same_draws) == (Effect.BETTER, (5, 5), False)
    assert found.ratio == 2.0
    assert found.why_not == ()


def test_a_worse_study_is_called_worse() -> None:
    found = change(side(), side("B", capacity=2.5), quadrant=LIVE)
    assert found.level is not None
    assert found.level.effect is Effect.WORSE
    assert found.ratio == pytest.approx(2.5 / 3.0)


def test_a_small_change_is_not_told_from_chance() -> None:
    found = change(side(), side("B", ttft_ms=201.0))
    assert found.level is not None
    assert found.level.effect is Effect.NOT_SHOWN
    assert found.level.comparison.low < 1 < found.level.comparison.high


def test_on_the_same_draws_runs_are_paired() -> None:
    drawn = replace(TRAFFIC, fresh=("a", "b", "c", "d", "e"))
    found = change(side(traffic=drawn), side("B", ttft_ms=198.0, traffic=drawn))
    assert found.level is not None
    assert astuple(found.level.comparison) == pytest.approx(astuple(paired([200 / 198] * 5)))
    assert (found.level.effect, found.same_draws) == (Effect.BETTER, True)


def test_a_machine_that_is_slower_as_a_whole_changes_levels_but_no_gain() -> None:
    slower = side("B", ttft_ms=240.0, default_ttft_ms=480.0)
    found = change(side(), slower)
    assert found.level is not None
    assert found.over_default is not None
    assert (found.level.effect, found.over_default.effect) == (Effect.WORSE, Effect.NOT_SHOWN)
    assert found.over_default.comparison.ratio == pytest.approx(1.0)


def test_two_defaults_gain_nothing_over_themselves() -> None:
    # What does not gain leaves the default as the winner.
    sides = (side(ttft_ms=400.0), side("B", ttft_ms=500.0, default_ttft_ms=300.0))
    assert [s.best(INTERACTIVE)["trial"] for s in sides] == [0, 0]  # type: ignore[index]
    found = change(*sides)
    assert found.level is not None
    assert found.level.comparison.ratio == pytest.approx(400 / 300)
    assert found.over_default is None


def test_all_that_is_reported_is_counted() -> None:
    across = compare([side(), side("B", ttft_ms=100.0), side("C", ttft_ms=195.0)])
    told = [t for c in across.changes for t in (c.level, c.over_default) if t]
    assert across.told == len(told) == 2 * 7  # in IV the default wins, and gains nothing
    assert [t.p_holm for t in told] == holm([t.comparison.p_value for t in told])


@pytest.mark.parametrize("runs", [(), WOBBLE[:1]])
def test_one_run_tells_nothing_of_chance(runs: tuple[float, ...]) -> None:
    found = change(side(), side("B", ttft_ms=100.0, wobble=runs))
    assert (found.level, found.over_default, found.ratio) == (None, None, 2.0)
    assert found.why_not == (f"B's winner has {len(runs)} confirming runs",)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"gpus": 2}, "4 and 2 GPUs"),
        ({"simulated": False}, "one is simulated, the other measured"),
        (
            {"traffic": replace(TRAFFIC, source="mine.csv")},
            "traffic from azure.csv and from mine.csv",
        ),
        ({"traffic": replace(TRAFFIC, request_rate=9.0)}, "offered 7.5 req/s and 9 req/s"),
        ({"traffic": replace(TRAFFIC, requests=300)}, "600 and 300 requests"),
        (
            {"traffic": replace(TRAFFIC, input_tokens=500.0)},
            "1100 and 500 input tokens a request",
        ),
        (
            {"traffic": replace(TRAFFIC, output_tokens=500.0)},
            "210 and 500 output tokens a request",
        ),
        ({"traffic": replace(TRAFFIC, prefix_share=0.5)}, "0% and 50% of prompts shared"),
        (
            {"traffic": replace(TRAFFIC, request_rate=None, concurrency=8)},
            "an open loop and 8 in flight",
        ),
    ],
)
def test_what_is_not_alike_is_shown_but_not_compared(changed: dict[str, Any], why: str) -> None:
    found = change(side(), side("B", ttft_ms=100.0, **changed))
    assert (found.level, found.over_default, found.ratio) == (None, None, None)
    assert found.why_not[0] == why


def test_capacity_is_compared_whatever_rate_was_offered() -> None:
    faster = replace(TRAFFIC, request_rate=9.0)
    found = change(side(), side("B", capacity=4.0, traffic=faster), quadrant=LIVE)
    assert found.level is not None
    assert found.level.effect is Effect.BETTER


def test_draws_of_one_trace_need_not_have_the_same_mean_length() -> None:
    drawn = replace(TRAFFIC, input_tokens=1150.0, output_tokens=200.0, requests=597)
    assert change(side(), side("B", traffic=drawn)).why_not == ()


def _promising(study: Side, bound: str) -> Side:
    """The study with another bound on the first token, in its own promise and its winners'."""
    text = json.dumps(study.summary).replace("p95_ttft_ms<=500", bound)
    return replace(study, summary=json.loads(text))


def test_another_promise_is_another_question() -> None:
    found = change(side(), _promising(side("B", ttft_ms=100.0), "p95_ttft_ms<=300"))
    assert found.why_not == ("the SLA: p95_ttft_ms<=500 and p95_ttft_ms<=300",)


def test_capacity_is_that_under_the_studys_own_promise() -> None:
    own = {**ABOUT, "sla": {"p95_ttft_ms<=300": "the command line"}}
    other = side("B", workloads={"chat": own})
    found = change(side(), other, quadrant=LIVE)
    assert found.why_not == (
        "the SLA that capacity keeps: p95_tpot_ms<=40, p95_ttft_ms<=500 and p95_ttft_ms<=300",
    )
    # The first token at the offered load is the same whatever was promised of capacity.
    assert change(side(), other).why_not == ()


def test_a_study_without_a_winner_is_said_to_have_none() -> None:
    none = side("B")
    summary = {**none.summary, "best": dict.fromkeys(Quadrant)}
    across = compare([side(), replace(none, summary=summary)])
    assert {c.why_not for c in across.changes} == {("no winner in B",)}


def test_without_capacity_there_is_nothing_to_compare_by() -> None:
    best = {**(side("B").best(LIVE) or {}), "loads": {"offered": {"p95_ttft_ms": 200.0}}}
    other = side("B")
    other = replace(other, summary={**other.summary, "best": dict.fromkeys(Quadrant, best)})
    found = change(side(), other, quadrant=LIVE)
    assert found.why_not == ("capacity_per_gpu was not measured in B",)


def test_the_answer_is_json_with_every_study_winner_and_change() -> None:
    across = compare([side(), side("B", ttft_ms=100.0)])
    answer = json.loads(json.dumps(across.to_json(), allow_nan=False))
    assert list(answer) == ["schema_version", "studies", "quadrants"]
    assert [(s["label"], s["study"], s["state"]) for s in answer["studies"]] == [
        ("A", "chat-monday", "finished"),
        ("B", "chat-monday", "finished"),
    ]
    mine = answer["quadrants"]["interactive"]
    assert mine["compared_by"] == "p95_ttft_ms"
    assert mine["differing_knobs"] == []
    assert mine["winners"]["B"]["confirmed"] == pytest.approx([100.0 * off for off in WOBBLE])
    (told,) = mine["changes"]
    assert (told["study"], told["runs"], told["ratio"]) == ("B", [5, 5], 2.0)
    assert told["level"]["effect"] == "better"


def test_only_knobs_that_differ_are_named() -> None:
    other = side("B")
    best = {**(other.best(INTERACTIVE) or {}), "config": {"max_num_seqs": 32, "wait_ms": 0}}
    other = replace(other, summary={**other.summary, "best": dict.fromkeys(Quadrant, best)})
    answer = compare([side(), other]).to_json()
    assert answer["quadrants"]["interactive"]["differing_knobs"] == ["max_num_seqs"]
