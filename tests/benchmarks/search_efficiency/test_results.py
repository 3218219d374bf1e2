import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks.search_efficiency import __main__ as command
from benchmarks.search_efficiency.cells import Cell, Unit
from benchmarks.search_efficiency.figures import as_json
from benchmarks.search_efficiency.report import as_markdown
from benchmarks.search_efficiency.results_file import Result, append, file_of, read_results
from benchmarks.search_efficiency.significance import holm, p_value, verdict

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
SMALL = ("--surfaces", "llama-70b-h100", "--policies", "random", "--trials", "3")


def ran(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr("sys.argv", ["search_efficiency", *map(str, arguments)])
    command.main()


def lines(folder: Path, name: str = "results.jsonl") -> list[str]:
    return (folder / name).read_text("utf-8").splitlines()


def test_a_rerun_skips_every_cell_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran(monkeypatch, "run", "--output", tmp_path, *SMALL, "--seeds", 1)
    first = lines(tmp_path)
    assert [json.loads(line)["launch_s"] for line in first] == [None, 30.0, 120.0, 215.0]
    assert "1/1  llama-70b-h100, random, seed 0" in capsys.readouterr().err
    ran(monkeypatch, "run", "--output", tmp_path, *SMALL, "--seeds", 1)
    assert (lines(tmp_path), capsys.readouterr().err) == (first, "")
    ran(monkeypatch, "run", "--output", tmp_path, *SMALL, "--seeds", 2)
    assert "1/1  llama-70b-h100, random, seed 1" in capsys.readouterr().err
    assert lines(tmp_path)[:4] == first


def test_a_cell_that_is_missing_is_filled_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran(monkeypatch, "run", "--output", tmp_path, *SMALL, "--seeds", 1)
    whole = lines(tmp_path)
    torn = "".join(line + "\n" for line in whole[:2]) + whole[2][:40]
    (tmp_path / "results.jsonl").write_text(torn, "utf-8")
    ran(monkeypatch, "run", "--output", tmp_path, *SMALL, "--seeds", 1)
    assert lines(tmp_path) == whole


def test_shards_fill_files_of_their_own_and_together_every_cell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for shard in ("1/2", "2/2"):
        ran(monkeypatch, "run", "--output", tmp_path, *SMALL, "--seeds", 2, "--shard", shard)
    names = sorted(path.name for path in tmp_path.glob("*.jsonl"))
    assert names == ["results-1-of-2.jsonl", "results-2-of-2.jsonl"]
    assert {key[2] for key in read_results(tmp_path)} == {0, 1}
    assert len(read_results(tmp_path)) == 8


def ran_apart(line: str) -> None:
    """In a process of its own, with which its pool's helpers end."""
    command = [sys.executable, "-m", "benchmarks.search_efficiency", *line.split()]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)


def test_the_commands_of_the_page_make_the_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    ran_apart(
        f"run --output {tmp_path} --processes 2 --quick --surfaces gpt-oss-120b-b200 "
        "--policies paretune,random --seeds 2 --trials 4"
    )
    ran_apart(f"report --output {tmp_path} --markdown {page}")
    text = page.read_text("utf-8")
    assert "## Each by its own rules" in text
    assert "| gpt-oss-120b-b200 |" in text


def test_several_processes_find_what_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran(monkeypatch, "run", "--output", tmp_path / "one", *SMALL, "--seeds", 2)
    asked = " ".join(map(str, (*SMALL, "--seeds", 2, "--processes", 2)))
    ran_apart(f"run --output {tmp_path / 'two'} {asked}")
    assert read_results(tmp_path / "one") == read_results(tmp_path / "two")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "--surfaces", "moon"), "'moon' is none of llama-70b-h100"),
        (("run", "--policies", "luck"), "'luck' is none of paretune"),
        (("run", "--shard", "5/4"), "a shard reads like 1/4, but got '5/4'"),
        (("report",), "A report needs results, but"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    arguments: Sequence[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        ran(monkeypatch, *arguments, "--output", tmp_path)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_one_folder_holds_results_of_one_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran(monkeypatch, "run", "--output", tmp_path, *SMALL, "--seeds", 1)
    with pytest.raises(SystemExit):
        ran(monkeypatch, "run", "--output", tmp_path, *SMALL[:-1], 4, "--seeds", 1)
    assert "has 3 and 4 was asked for" in capsys.readouterr().err


def result(policy: str, seed: int, regret: float, **changed: Any) -> Result:
    """Ten of a hundred seconds for each of two trials, the second of which ends at ``regret``."""
    told: dict[str, Any] = {
        "surface": "hills",
        "policy": policy,
        "seed": seed,
        "table": "same measurement",
        "launch_s": 30.0,
        "trials": 2,
        "budget_s": 100.0,
        "spent_s": [30.0, 60.0],
        "regret": [1.0, regret],
        "hypervolume": [0.25, 0.5],
        "launches": 2,
        "launching_s": 15.0,
    }
    return Result(**{**told, **changed})


RESULTS = [
    *(result("random", seed, 0.5 + seed / 100) for seed in range(8)),
    *(result("mine", seed, 0.2 + seed / 100) for seed in range(8)),
    *(result("mine", seed, 0.1, surface="dales", hypervolume=[0.5, 1.0]) for seed in range(8)),
    *(result("random", seed, 0.1, surface="dales") for seed in range(8)),
    *(result("mine", seed, 0.3, table="own rules", launch_s=None) for seed in range(8)),
]


def test_the_report_is_made_from_the_results_alone() -> None:
    found = as_markdown(RESULTS, {"mine": "ours", "random": "at random"})
    assert found + "\n" == (HERE / "report.md").read_text("utf-8")


def test_the_report_is_written_where_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = {"budget_s": 100.0, "spent_s": [9.0], "regret": [0.5], "hypervolume": [0.5]}
    cell = Cell(Unit("hills", "random", 0), "own rules", None)
    append(file_of(tmp_path, (1, 1)), [(cell, {**figures, "launches": 1, "launching_s": 3.0})], 2)
    written = {"--markdown": tmp_path / "report.md", "--json": tmp_path / "report.json"}
    options = [part for pair in written.items() for part in pair]
    ran(monkeypatch, "report", "--output", tmp_path, *options)
    tables, text = capsys.readouterr().out, written["--markdown"].read_text("utf-8")
    assert text.startswith("# How far searches get")
    assert text.endswith(f"reach 0.05.\n\n{tables}")
    (entry,) = json.loads(written["--json"].read_text("utf-8"))
    assert (entry["surface"], entry["policy"], entry["regret"]["1"]) == ("hills", "random", 0.5)


def test_every_figure_is_in_the_json() -> None:
    (hills,) = [
        e
        for e in as_json(RESULTS)
        if (e["surface"], e["policy"], e["launch_s"]) == ("hills", "mine", 30.0)
    ]
    assert hills == {
        "table": "same measurement",
        "launch_s": 30.0,
        "surface": "hills",
        "policy": "mine",
        "seeds": 8,
        "regret": {"0.25": 1.0, "0.5": 1.0, "1": 0.235},
        "worst_regret": {"0.25": 1.0, "0.5": 1.0, "1": 0.27},
        "hypervolume": {"0.25": 0.0, "0.5": 0.25, "1": 0.5},
        "worst_hypervolume": {"0.25": 0.0, "0.5": 0.25, "1": 0.5},
        # Eight pairs, all of one sign: 2 / 2 ** 8, times two surfaces.
        "p": {"0.25": 1.0, "0.5": 1.0, "1": 0.0156},
        "than_random": {"0.25": "-", "0.5": "-", "1": "better"},
        "trials": 2.0,
        "launches": 2.0,
        "launching_share": 0.25,
        "loaded_s": 22.5,
    }


def test_what_stopping_early_saves_is_told_by_seconds_of_a_trial() -> None:
    found = as_markdown(
        [result("paretune", 0, 0.1), result("paretune-whole", 0, 0.1, spent_s=[30.0, 105.0])], {}
    )
    assert "Stopping trials early spares 50 % of the seconds that a trial takes" in found


def test_p_values_are_corrected_for_their_number() -> None:
    assert holm({"a": 0.04, "b": 0.01, "c": 0.03}) == {"b": 0.03, "c": 0.06, "a": 0.06}


def test_a_difference_needs_pairs_that_differ() -> None:
    assert p_value([0.1, 0.2], [0.1, 0.2]) == 1.0
    lower, higher = [i / 100 for i in range(8)], [0.5 + i / 100 for i in range(8)]
    assert p_value(lower, higher) == 2 / 2**8
    assert verdict(lower, higher, 0.01) == "better"
    assert verdict(higher, lower, 0.01) == "worse"
    assert verdict(lower, higher, 0.2) == "-"
