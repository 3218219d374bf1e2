"""What a study leaves on disk."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml

from tests.tuner.conftest import QUICK, Tune

BOTH_LOADS = (*QUICK, "--load=both", "--input-tokens=512", "--output-tokens=64")
WINNERLESS = (*QUICK[:-1], "--sla=p95_ttft_ms<=1")
SUMMARY = {
    *("schema_version", "study", "objective", "engine", "engine_version", "simulated"),
    *("uncertainty", "hardware", "model", "workloads", "seed", "trials", "cost", "baseline"),
    *("best", "confirmation", "regret", "front", "unused_knobs", "infeasible"),
}
LINE = {
    *("number", "config", "origin", "loads", "sla", "failure", "stopped_early", "engine_s"),
    "launch_id",
}
QUADRANTS = ["live-at-scale", "interactive", "economy", "bulk"]


def untimed(summary: dict[str, Any]) -> dict[str, Any]:
    return {**summary, "cost": {**summary["cost"], "wall_s": None}}


def test_a_study_leaves_the_files_of_the_contract(tmp_path: Path, tune: Tune) -> None:
    folder = tmp_path / "study"
    ended = tune(*BOTH_LOADS, "--trials=3", "--json", f"--output={folder}")
    assert (ended.status, ended.err) == (0, "")
    summary = json.loads((folder / "summary.json").read_text())
    assert json.loads(ended.out) == summary
    assert summary.keys() == SUMMARY
    assert summary["trials"] == {
        **{"done": 3, "feasible": 3, "infeasible": 0, "failed": 0, "stopped_early": 0}
    }
    assert list(summary["best"]) == list(summary["regret"]) == QUADRANTS
    lines = [json.loads(line) for line in (folder / "trials.jsonl").read_text().splitlines()]
    assert [line["number"] for line in lines] == [0, 1, 2]
    for line in lines:
        assert line.keys() >= LINE
        assert line["loads"].keys() == {"offered", "capacity"}
        for judgement in line["sla"].values():
            assert judgement.keys() >= {"limit", "value", "share", "verdict"}
    won = [f"{q}.yaml" for q in QUADRANTS if summary["best"][q]]
    assert {path.name for path in (folder / "best").iterdir()} == set(won)
    there = {
        ".lock",
        "best",
        "logs",
        "requests",
        "report.html",
        "study.db",
        "summary.json",
        "trials.jsonl",
    }
    assert {path.name for path in folder.iterdir()} == there | {"confirm", "workloads"}


def test_every_request_of_both_loads_is_kept(tmp_path: Path, tune: Tune) -> None:
    folder = tmp_path / "study"
    tune(*BOTH_LOADS, "--trials=2", "--quiet", f"--output={folder}")
    assert {path.name for path in (folder / "requests").iterdir()} == {"0.parquet", "1.parquet"}
    rows = pq.read_table(folder / "requests" / "0.parquet").to_pylist()
    line = json.loads((folder / "trials.jsonl").read_text().splitlines()[0])
    offered = [row for row in rows if row["load"] == "offered"]
    assert {row["load"] for row in rows} == {"offered", "capacity"}
    assert {row["objective"] for row in rows} == {"chat"}
    assert len(offered) == 60
    assert sum(row["completed"] for row in offered) == line["loads"]["offered"]["completed"]
    assert max(row["ttft_ms"] for row in offered) >= line["loads"]["offered"]["p99_ttft_ms"]


def test_a_winner_is_a_file_the_engine_starts_from(tmp_path: Path, tune: Tune) -> None:
    folder = tmp_path / "study"
    tune(
        *(*QUICK, "--trials=3", "--quiet", f"--output={folder}", "--study=monday"),
        *("--set=enable_prefix_caching=false", "--set=batch_wait_timeout_ms=20"),
        "--allow-scheduler-class",
    )
    text = (folder / "best" / "interactive.yaml").read_text()
    best = json.loads((folder / "summary.json").read_text())["best"]["interactive"]
    settings = yaml.safe_load(text)
    config = best["config"]
    assert config["batch_wait_timeout_ms"] == 20
    assert settings["no-enable-prefix-caching"] is True
    assert settings["gpu-memory-utilization"] == round(config["gpu_memory_utilization"] - 0.02, 4)
    assert settings["max-num-seqs"] == config["max_num_seqs"]
    assert not {name for name in settings if name.startswith(("batch", "enable-prefix"))}
    assert all(isinstance(value, (bool, int, float, str)) for value in settings.values())
    header = "".join(line for line in text.splitlines() if line.startswith("# "))
    for said in (
        *("study monday", f"trial {best['trial']}", "1 x l4", "SIMULATED", "scheduler class"),
        f"p95_ttft_ms {best['loads']['offered']['p95_ttft_ms']:.4g}",
    ):
        assert said in header


def test_the_same_seed_gives_the_same_answer_but_for_times(tmp_path: Path, tune: Tune) -> None:
    def summary(folder: str) -> dict[str, Any]:
        place = tmp_path / folder
        tune(*QUICK, "--trials=11", "--quiet", "--study=twice", f"--output={place}")
        return untimed(json.loads((place / "summary.json").read_text()))

    assert summary("a") == summary("b")


def test_the_answer_is_shown_again_from_disk(tmp_path: Path, tune: Tune) -> None:
    folder = tmp_path / "study"
    ran = tune(*QUICK, "--trials=2", "--quiet", f"--output={folder}")
    assert ran.err == ""
    assert tune("show", folder) == ran
    shown = tune("show", folder, "--json")
    assert json.loads(shown.out) == json.loads((folder / "summary.json").read_text())


def test_a_winner_of_before_that_wins_no_more_leaves_no_file(tmp_path: Path, tune: Tune) -> None:
    folder = tmp_path / "study"
    tune(*WINNERLESS, "--trials=2", "--quiet", f"--output={folder}")
    (folder / "best" / "interactive.yaml").write_text("max-num-seqs: 1\n")
    tune("resume", folder, "--quiet")
    assert not (folder / "best" / "interactive.yaml").exists()
