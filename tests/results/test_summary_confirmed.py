"""A summary whose finalists were measured in pairs, and one with trials that were stopped."""

from dataclasses import replace
from typing import Any

import pytest

from objectives import Quadrant, Verdict
from objectives.quadrant import CAPACITY, FIRST_TOKEN
from results.confirmation import DEFAULT, Confirmation, Finalist, confirm
from results.record import TrialRecord
from results.summary import sla_json, summarise
from tests.results.test_summary import (
    BULK,
    FACTS,
    FAILURE,
    INTERACTIVE,
    LIVE,
    STOCK,
    failed,
    judged,
    summary,
    trial,
)

CHAT = Finalist(quadrant=INTERACTIVE, objective="chat", trial=1, goal=FIRST_TOKEN)
MORE = Finalist(quadrant=LIVE, objective="chat", trial=2, goal=CAPACITY)
SEARCHED = [
    trial(0),
    trial(1, ttft_ms=200.0, seqs=64),
    trial(2, capacity_per_gpu=3.0, seqs=32),
]


def pairs(arm: str, number: int, **changes: Any) -> list[TrialRecord]:
    """Five runs of one arm, each a launch of its own."""
    return [
        trial(number, origin="confirm", arm=arm, pair=pair, **changes, launch_id=100 + pair)
        for pair in range(5)
    ]


def confirmed(
    *runs: TrialRecord, chosen: tuple[Finalist, ...] = (CHAT,), records: Any = SEARCHED
) -> dict[str, Any]:
    found: list[Confirmation] = confirm(chosen, runs)
    return summarise(FACTS, records, STOCK, wall_s=1.0, confirmed=found, runs=runs)


def best(answer: dict[str, Any], quadrant: Quadrant = INTERACTIVE) -> dict[str, Any]:
    found: dict[str, Any] = answer["best"][quadrant]
    return found


def test_a_finalist_that_gains_wins_with_the_gain_of_its_pairs_and_what_its_file_did() -> None:
    mine = pairs("trial 1", 1, ttft_ms=250.0, seqs=64)
    won = best(confirmed(*pairs(DEFAULT, 0), *mine))
    assert (won["trial"], won["goal"]) == (1, {"metric": "p95_ttft_ms", "value": 200.0})
    assert won["gain"] == pytest.approx({"ratio": 1.6, "low": 1.6, "high": 1.6})
    assert won["confirmed"] is True
    assert won["from_file"] == {
        "loads": mine[0].loads,
        "sla": sla_json(judged(250.0, Verdict.MET, -0.3)),
        "failure": None,
    }


def test_the_default_loses_what_a_confirmed_gain_is_worth() -> None:
    pair = [*pairs(DEFAULT, 0), *pairs("trial 1", 1, ttft_ms=250.0, seqs=64)]
    assert confirmed(*pair)["regret"][INTERACTIVE][BULK] == pytest.approx(1 - 250 / 400)
    worse = [*pairs(DEFAULT, 0), *pairs("trial 1", 1, ttft_ms=800.0, seqs=64)]
    assert confirmed(*worse)["regret"][INTERACTIVE][BULK] == 0.0


@pytest.mark.parametrize("ttft_ms", [400.0, 800.0])
def test_without_a_gain_the_default_stays(ttft_ms: float) -> None:
    runs = [*pairs(DEFAULT, 0), *pairs("trial 1", 1, ttft_ms=ttft_ms)]
    answer = confirmed(*runs)
    stays = best(answer)
    assert (stays["trial"], stays["gain"]) == (0, {"ratio": 1.0, "low": None, "high": None})
    assert (stays["confirmed"], stays["from_file"]["failure"]) == (True, None)
    assert stays["from_file"]["loads"] == runs[0].loads


def test_a_finalist_that_was_not_measured_wins_unconfirmed() -> None:
    won = best(confirmed())
    assert (won["trial"], won["confirmed"], won["from_file"]) == (1, False, None)
    assert won["gain"] == {"ratio": 2.0, "low": None, "high": None}


def test_a_quadrant_whose_best_was_the_default_needs_no_confirmation() -> None:
    answer = confirmed(*pairs(DEFAULT, 0), *pairs("trial 1", 1, ttft_ms=200.0))
    assert {q: (b["trial"], b["confirmed"]) for q, b in answer["best"].items()} == {
        "live-at-scale": (2, True),
        "interactive": (1, True),
        "economy": (2, True),
        "bulk": (0, True),
    }


def test_before_finalists_are_fixed_nothing_is_confirmed() -> None:
    answer = summary(*SEARCHED)
    assert answer["confirmation"] is None
    assert {b["confirmed"] for b in answer["best"].values()} == {False}


def test_what_the_pairs_said_is_kept_by_quadrant() -> None:
    mine = pairs("trial 1", 1, ttft_ms=200.0, seqs=64)
    more = pairs("trial 2", 2, capacity_per_gpu=2.0, seqs=32)
    runs = [*pairs(DEFAULT, 0), *mine, *more]
    answer = confirmed(*runs, chosen=(MORE, CHAT))
    assert answer["confirmation"] == {
        found.finalist.quadrant: found.to_json() for found in confirm((MORE, CHAT), runs)
    }
    assert [c["outcome"] for c in answer["confirmation"].values()] == [
        "no significant gain",
        "gain",
    ]
    assert (best(answer, LIVE)["trial"], best(answer)["trial"]) == (0, 1)


def test_a_file_that_the_stock_engine_refuses_is_told_beside_a_winner_without_another() -> None:
    records = [trial(0, keeps=()), trial(1, ttft_ms=200.0, seqs=64)]
    refused = pairs("trial 1", 1, failure=FAILURE, loads={}, sla={}, quadrants={})
    answer = confirmed(*pairs(DEFAULT, 0), *refused, records=records)
    assert answer["confirmation"]["interactive"]["outcome"] == "breaks its SLA"
    won = best(answer)
    assert (won["trial"], won["from_file"]) == (
        1,
        {"loads": {}, "sla": {}, "failure": FAILURE},
    )


def test_confirming_costs_engine_time_and_launches_but_tries_no_config() -> None:
    answer = confirmed(*pairs(DEFAULT, 0), *pairs("trial 1", 1, ttft_ms=200.0))
    assert answer["trials"]["done"] == 3
    # The runs of the two arms share launches here; a trial in a launch is paid for once.
    assert (answer["cost"]["launches"], answer["cost"]["engine_s"]) == (8, 13 * 90.0)


def stopped(number: int, **changes: Any) -> TrialRecord:
    return trial(number, stopped_early=True, why_stopped="less capacity", **changes)


def test_trials_that_were_stopped_are_counted_and_chosen_for_nothing() -> None:
    answer = summary(*SEARCHED, stopped(3, ttft_ms=1.0, capacity_per_gpu=99.0, seqs=8))
    assert answer["trials"] == {
        "done": 4,
        "feasible": 4,
        "infeasible": 0,
        "failed": 0,
        "stopped_early": 1,
    }
    named = {b["trial"] for b in answer["best"].values()} | {p["trial"] for p in answer["front"]}
    assert 3 not in named
    assert answer["unused_knobs"] == summary(*SEARCHED)["unused_knobs"]
    assert answer["cost"]["engine_s"] == 4 * 90.0


def test_the_nearest_config_is_one_that_was_measured_whole() -> None:
    default = trial(0, keeps=(), excess=2.0)
    part = stopped(1, keeps=(), excess=0.1)
    assert summary(default, part)["infeasible"]["nearest"]["trial"] == 0
    assert summary(failed(0), part)["infeasible"]["nearest"]["trial"] == 1
    kept = replace(part, quadrants=trial(1).quadrants, sla=trial(1).sla)
    assert summary(default, kept)["infeasible"]["nearest"]["trial"] == 0
