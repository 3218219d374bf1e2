"""Whole studies on the simulated engine that end in pairs, from the command line to the files."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml

from results.record import TrialRecord
from tests.tuner.conftest import Ended, Tune
from tuner.confirm import take

STUDY = (
    *("--objective=chat", "--input-tokens=512", "--output-tokens=64", "--requests=60"),
    *("--request-rate=2", "--load=offered", "--gpu=l4", "--gpus=2", "--mlflow=off", "--seed=0"),
    *("--sla=p95_e2el_ms<=20000", "--study=monday"),
)
"""Two GPUs answer sooner together than one by one: of three configs the first preset is best."""
THREE = (*STUDY, "--trials=3")
ARMS = ("default", "trial 1")


def lines(folder: Path) -> list[TrialRecord]:
    text = (folder / "trials.jsonl").read_text("utf-8")
    return [TrialRecord.from_json(line) for line in text.splitlines()]


def confirmed(folder: Path) -> list[TrialRecord]:
    return [record for record in lines(folder) if record.origin == "confirm"]


def summary_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "summary.json").read_text("utf-8"))
    return found


def untimed(summary: dict[str, Any]) -> dict[str, Any]:
    return {**summary, "cost": {**summary["cost"], "wall_s": None}}


def engine_s(records: list[TrialRecord]) -> float:
    return sum({r.launch_id: r.engine_s for r in records}.values())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "study"


def test_a_study_ends_in_pairs_that_say_what_its_winner_gains(folder: Path, tune: Tune) -> None:
    ended = tune(*THREE, f"--output={folder}")
    assert ended.status == 0
    summary = summary_of(folder)
    pairs = summary["confirmation"]["interactive"]
    assert (pairs["trial"], pairs["goal"], pairs["outcome"]) == (1, "p95_ttft_ms", "gain")
    assert (pairs["pairs"], pairs["sla_kept"], pairs["runs"], pairs["modes"]) == (5, 5, 5, {})
    assert 1 < pairs["low"] < pairs["ratio"] < pairs["high"]
    best = summary["best"]["interactive"]
    assert best["gain"] == {name: pairs[name] for name in ("ratio", "low", "high")}
    assert (best["trial"], best["confirmed"]) == (1, True)
    assert best["from_file"]["loads"] == confirmed(folder)[1].loads
    _check_files(folder)
    _check_said(ended, summary)


def _check_files(folder: Path) -> None:
    found = confirmed(folder)
    assert [(r.pair, r.arm) for r in found] == [
        (pair, arm) for pair in range(5) for arm in (ARMS if pair % 2 == 0 else ARMS[::-1])
    ]
    assert [r.launch_id for r in found] == [*range(3, 13)]
    assert [r.origin for r in lines(folder)[:3]] == ["default", "preset", "preset"]
    winner = yaml.safe_load((folder / "best" / "interactive.yaml").read_text())
    assert yaml.safe_load((folder / "confirm" / "trial-1.yaml").read_text()) == winner
    assert sorted(p.name for p in (folder / "confirm").iterdir()) == [
        "default.yaml",
        "trial-1.yaml",
    ]
    draws = sorted(p.name for p in (folder / "workloads").iterdir())
    assert draws == [*(f"chat.{n}.jsonl" for n in range(2, 8)), "chat.jsonl"]


def _check_said(ended: Ended, summary: dict[str, Any]) -> None:
    assert "\nThe best of the search against the default, each launched from its file" in ended.out
    row = next(line for line in ended.out.splitlines() if line.startswith("II       1  p95 TTFT"))
    assert row.endswith("   5/5  gain")
    assert "Not yet confirmed" not in ended.out
    assert "  gain      the default's p95 TTFT is 1.33x this (95 % interval" in ended.out
    said = [line for line in ended.err.splitlines() if line.startswith("confirming")]
    assert [line.split("  ")[:3] for line in said[:3]] == [
        ["confirming 1/10", "pair 1", "default"],
        ["confirming 2/10", "pair 1", "trial 1"],
        ["confirming 3/10", "pair 2", "trial 1"],
    ]
    assert len(said) == 10
    assert summary["trials"]["done"] == 3
    assert summary["cost"]["launches"] == 13


def test_a_finished_study_shown_or_resumed_says_the_same(folder: Path, tune: Tune) -> None:
    ended = tune(*THREE, "--json", f"--output={folder}")
    before = lines(folder)
    for command in ("show", "resume"):
        again = tune(command, folder, "--json")
        assert (again.status, untimed(json.loads(again.out))) == (
            0,
            untimed(json.loads(ended.out)),
        )
    assert lines(folder) == before


@pytest.mark.parametrize("turn", [1, 6])
def test_interrupted_while_it_confirms_it_goes_on_with_what_is_missing(
    tmp_path: Path, tune: Tune, monkeypatch: pytest.MonkeyPatch, turn: int
) -> None:
    whole, folder = tmp_path / "whole", tmp_path / "study"
    expected = tune(*THREE, "--json", f"--output={whole}")
    left = turn

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        nonlocal left
        left -= 1
        if left == 0:
            signal.raise_signal(signal.SIGINT)
        return take(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr("tuner.finals.take", interrupted)
        cut = tune(*THREE, "--quiet", f"--output={folder}")
    assert cut.status == 130
    assert cut.err == (
        f"Interrupted after 3 of 3 trials; nothing is lost. Go on with: tune resume {folder}\n"
    )
    assert len(confirmed(folder)) == turn - 1
    assert summary_of(folder)["best"]["interactive"]["confirmed"] is (turn == 6)
    resumed = tune("resume", folder, "--json")
    assert untimed(json.loads(resumed.out)) == untimed(json.loads(expected.out))
    assert lines(folder) == lines(whole)


def test_without_pairs_winners_stay_unconfirmed(folder: Path, tune: Tune) -> None:
    ended = tune(*THREE, "--pairs=0", f"--output={folder}")
    assert ended.status == 0
    summary = summary_of(folder)
    assert summary["confirmation"] is None
    assert {best["confirmed"] for best in summary["best"].values() if best} == {False}
    assert "\nNot yet confirmed with fresh seeds.\n" in ended.out
    assert (confirmed(folder), [*(folder / "confirm").iterdir()]) == ([], [])


@pytest.mark.parametrize("pairs", [-1, 1, 3, 4, 101])
def test_too_few_pairs_tell_nothing_and_are_refused(folder: Path, tune: Tune, pairs: int) -> None:
    ended = tune(*THREE, f"--pairs={pairs}", f"--output={folder}")
    said = f"tune: --pairs must be 0, or from 5 to 100: fewer tell nothing, but got {pairs}.\n"
    assert (ended.status, ended.out, ended.err) == (2, "", said)
    assert not folder.exists()


def test_a_budget_that_does_not_do_for_one_trial_and_its_pairs_is_refused_in_one_line(
    folder: Path, tune: Tune
) -> None:
    ended = tune(*STUDY, "--budget=5m", "--quiet", f"--output={folder}")
    assert (ended.status, ended.out) == (2, "")
    assert ended.err == (
        "tune: --budget must cover one trial and its confirmation, but 5 min does not: the "
        "default config took 1 min 39 s, and 5 pairs of launches would take 16 min 27 s; give at "
        "least 19m, or --pairs 0.\n"
    )
    shown = tune("show", folder)
    assert (shown.status, shown.err) == (0, "")
    assert "\nTried 1 config: 1 feasible, 0 infeasible, 0 failed.\n" in shown.out
    again = tune("resume", folder, "--quiet")
    assert (again.status, again.err) == (2, ended.err)


def test_the_budget_that_is_asked_for_does(folder: Path, tune: Tune) -> None:
    ended = tune(*STUDY, "--budget=19m", "--quiet", f"--output={folder}")
    assert ended.status == 0
    found = lines(folder)
    assert engine_s(found) <= 19 * 60
    assert [r.origin for r in found] == ["default"]


@pytest.mark.parametrize("minutes", [30, 60])
def test_a_budget_is_spent_on_trials_and_on_confirming_them_and_not_exceeded(
    folder: Path, tune: Tune, minutes: int
) -> None:
    tune(*STUDY, f"--budget={minutes}m", "--quiet", f"--output={folder}")
    found = lines(folder)
    trials = [r for r in found if r.origin != "confirm"]
    assert len(confirmed(folder)) == 10
    assert engine_s(found) <= 60 * minutes
    # Another trial would have taken from what the pairs need.
    recent = [r.engine_s for r in trials][-5:]
    assert engine_s(found) + sum(recent) / len(recent) > 0.9 * 60 * minutes
    assert len(trials) > 3


def test_without_pairs_a_budget_is_for_trials_alone(folder: Path, tune: Tune) -> None:
    tune(*STUDY, "--budget=5m", "--pairs=0", "--quiet", f"--output={folder}")
    found = lines(folder)
    assert [r.origin for r in found] == ["default", "preset"]
    assert engine_s(found) <= 300
