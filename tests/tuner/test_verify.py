"""``tune verify``: an exported file measured again."""

import json
import shutil
from pathlib import Path

import pytest

from tests.tuner.conftest import QUICK, Tune

STUDY = (*QUICK, "--set=max_num_batched_tokens=512", "--range=max_num_seqs=1,256")
"""Its default is confirmed against nothing; with one at a time it is far from its promise."""


@pytest.fixture
def file(tmp_path: Path, tune: Tune) -> Path:
    folder = tmp_path / "study"
    tune(*STUDY, "--trials=3", "--quiet", f"--output={folder}")
    ended = tune("export", folder, "--quadrant=interactive", "--to=vllm", "--no-check")
    assert (ended.status, ended.err) == (0, "")
    return folder / "exports" / "vllm" / "interactive.yaml"


def test_the_file_of_a_winner_does_as_promised(file: Path, tune: Tune) -> None:
    ended = tune("verify", file, "--json")
    found = json.loads(ended.out)
    assert (ended.status, ended.err) == (0, "")
    assert (found["verdict"], found["runs"], found["broken"]) == ("as promised", 5, [])
    assert found["promise_simulated"] is True
    for told in found["metrics"].values():
        assert told["low"] <= told["ratio"] <= told["high"]


def test_a_file_that_was_made_worse_fails(file: Path, tune: Tune) -> None:
    text = file.read_text()
    file.write_text(text.replace("max-num-seqs: 256", "max-num-seqs: 1"))
    assert file.read_text() != text
    ended = tune("verify", file)
    assert ended.status == 5
    assert ended.out.startswith("worse: interactive, trial ")
    assert "WORSE" in ended.out


def test_a_file_elsewhere_needs_its_study(file: Path, tmp_path: Path, tune: Tune) -> None:
    there = tmp_path / "etc" / "interactive.yaml"
    there.parent.mkdir()
    shutil.copy(file, there)
    ended = tune("verify", there)
    said = f"tune: {there} lies in no study's folder; --study DIR names it.\n"
    assert (ended.status, ended.err) == (2, said)
    assert tune("verify", there, f"--study={tmp_path / 'study'}").status == 0


def test_what_is_no_export_is_refused(file: Path, tmp_path: Path, tune: Tune) -> None:
    stranger = file.with_name("mine.yaml")
    stranger.write_text("max-num-seqs: 4\n")
    assert tune("verify", stranger).err == (
        f"tune: {stranger} is no export of ours: there is no mine.yaml.provenance.yaml.\n"
    )
    absent = tmp_path / "absent.yaml"
    assert tune("verify", absent).err == (
        f"tune: There is no file {absent}; `tune export --to vllm` writes one.\n"
    )


def test_a_study_without_fresh_draws_promises_nothing(tmp_path: Path, tune: Tune) -> None:
    folder = tmp_path / "study"
    tune(*STUDY, "--trials=2", "--quiet", f"--output={folder}", "--pairs=0")
    ended = tune("verify", folder / "best" / "interactive.yaml")
    assert (ended.status, ended.err) == (
        2,
        "tune: At least 2 draws that the search did not see must be kept, but the study has 0: "
        "run it with --pairs 5.\n",
    )
