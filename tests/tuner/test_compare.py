"""``tune compare``: studies read from their folders and held against each other."""

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.tuner.conftest import Tune

THREE = (
    *("--objective=chat", "--input-tokens=512", "--output-tokens=64", "--requests=60"),
    *("--request-rate=2", "--load=offered", "--gpu=l4", "--gpus=2", "--mlflow=off"),
    *("--sla=p95_e2el_ms<=20000", "--trials=3", "--quiet"),
)
"""Two GPUs answer sooner together than one by one: the first preset beats the default."""
Begin = Callable[..., Path]


@pytest.fixture
def study(tmp_path: Path, tune: Tune) -> Begin:
    """Runs a quick study under a name; its folder."""

    def run(name: str, *options: str) -> Path:
        folder = tmp_path / name
        ended = tune(*THREE, f"--study={name}", f"--output={folder}", *options)
        assert (ended.status, ended.err) == (0, "")
        return folder

    return run


def compared(tune: Tune, *folders: Path) -> Any:
    ended = tune("compare", *folders, "--json")
    assert (ended.status, ended.err) == (0, "")
    return json.loads(ended.out)


def test_studies_are_shown_side_by_side(study: Begin, tune: Tune) -> None:
    folders = [study("one", "--seed=1"), study("two", "--seed=2")]
    ended = tune("compare", *folders)
    assert (ended.status, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert lines[0] == (
        "2 studies, compared with the first, A. All figures are simulated, not measured on a GPU."
    )
    assert "  study     A one" in lines
    assert "            B two" in lines
    assert [line for line in lines if line.startswith("II interactive, by ")] == [
        "II interactive, by p95 TTFT, ms; lower is better"
    ]


def test_json_has_when_and_on_what_each_was_run(study: Begin, tune: Tune) -> None:
    folders = [study("one"), study("two", "--gpu=h100_sxm")]
    answer = compared(tune, *folders)
    assert [s["folder"] for s in answer["studies"]] == [str(folder) for folder in folders]
    assert [s["hardware"]["gpu"] for s in answer["studies"]] == ["l4", "h100_sxm"]
    assert all(s["begun"].endswith(" UTC") for s in answer["studies"])
    assert [s["state"] for s in answer["studies"]] == ["finished", "finished"]


def test_nearly_the_same_rate_is_the_same_draws(study: Begin, tune: Tune) -> None:
    answer = compared(tune, study("one"), study("two", "--request-rate=2.01"))
    (told,) = answer["quadrants"]["interactive"]["changes"]
    assert (told["same_draws"], told["runs"], told["why_not"]) == (True, [5, 5], [])
    assert told["level"]["ratio"] == pytest.approx(1.0, abs=0.01)


def test_another_seed_is_other_draws(study: Begin, tune: Tune) -> None:
    answer = compared(tune, study("one", "--seed=1"), study("two", "--seed=2"))
    (told,) = answer["quadrants"]["interactive"]["changes"]
    assert (told["same_draws"], told["runs"], told["why_not"]) == (False, [5, 5], [])
    assert told["level"]["low"] < told["level"]["ratio"] < told["level"]["high"]


def test_another_rate_is_not_comparable(study: Begin, tune: Tune) -> None:
    answer = compared(tune, study("one"), study("two", "--request-rate=1"))
    (told,) = answer["quadrants"]["interactive"]["changes"]
    assert (told["level"], told["why_not"]) == (None, ["offered 2 req/s and 1 req/s"])


def test_one_study_alone_is_refused(tmp_path: Path, tune: Tune) -> None:
    ended = tune("compare", tmp_path)
    said = "tune: From 2 to 26 studies can be compared, but got 1: tune compare DIR DIR...\n"
    assert (ended.status, ended.out, ended.err) == (2, "", said)


def test_a_folder_without_a_study_is_refused(study: Begin, tmp_path: Path, tune: Tune) -> None:
    (tmp_path / "empty").mkdir()
    ended = tune("compare", study("one"), tmp_path / "empty")
    said = f"tune: {tmp_path}/empty holds no study (no study.db).\n"
    assert (ended.status, ended.out, ended.err) == (2, "", said)


def test_a_study_is_not_compared_with_its_own_copy(
    study: Begin, tmp_path: Path, tune: Tune
) -> None:
    folder, copy = study("one"), tmp_path / "copy"
    shutil.copytree(folder, copy)
    ended = tune("compare", folder, copy)
    said = f"tune: {folder} and {copy} hold the same study; name another one.\n"
    assert (ended.status, ended.out, ended.err) == (2, "", said)


def test_a_study_without_confirmation_says_that_it_has_none(study: Begin, tune: Tune) -> None:
    folders = [study("one", "--pairs=0"), study("two", "--pairs=0", "--seed=2")]
    answer = compared(tune, *folders)
    assert {s["state"] for s in answer["studies"]} == {"finished, nothing confirmed"}
    (told,) = answer["quadrants"]["interactive"]["changes"]
    assert (told["level"], told["why_not"]) == (
        None,
        ["A's winner has 0 confirming runs", "B's winner has 0 confirming runs"],
    )


def test_an_unfinished_study_is_compared_as_far_as_it_got(
    study: Begin, tmp_path: Path, tune: Tune, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = study("whole")
    from tuner import trial

    launch = trial.try_out
    launched: list[object] = []

    def interrupted(*args: Any) -> Any:
        launched.append(args)
        if len(launched) == 2:
            signal.raise_signal(signal.SIGINT)
        return launch(*args)

    monkeypatch.setattr("tuner.study.try_out", interrupted)
    part = tmp_path / "part"
    assert tune(*THREE, f"--output={part}").status == 130
    answer = compared(tune, whole, part)
    assert [s["state"] for s in answer["studies"]] == ["finished", "unfinished, 1 of 3 trials"]


def test_comparing_changes_nothing(study: Begin, tmp_path: Path, tune: Tune) -> None:
    folders = [study("one"), study("two")]
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    compared(tune, *folders)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
