"""``tune export``: a study's winner as files."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from results.export import TARGETS
from tests.tuner.conftest import QUICK, Tune
from tuner.export import checking

WINNERLESS = (*QUICK[:-1], "--sla=p95_ttft_ms<=1")


@pytest.fixture(autouse=True)
def no_vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its parser takes as long to answer as its imports; a test of its own asks it."""

    def absent(command: str | None) -> Any:
        raise ValueError("none")

    monkeypatch.setattr(checking, "resolve", absent)


@pytest.fixture
def study(tmp_path: Path, tune: Tune) -> Path:
    folder = tmp_path / "study"
    assert tune(*QUICK, "--trials=2", "--quiet", f"--output={folder}", "--study=monday").err == ""
    return folder


@pytest.mark.parametrize("name", TARGETS)
def test_every_target_is_written_with_its_provenance(name: str, study: Path, tune: Tune) -> None:
    ended = tune("export", study, "--quadrant=interactive", f"--to={name}")
    assert (ended.status, ended.err) == (0, "")
    out = study / "exports" / name
    files = {path for path in out.rglob("*") if path.is_file()}
    beside = {path for path in files if path.name.endswith(".provenance.yaml")}
    assert {Path(f"{path}.provenance.yaml") for path in files - beside} == beside
    for path in files - beside:
        assert str(path) in ended.out
        kept = yaml.safe_load(Path(f"{path}.provenance.yaml").read_text())
        assert (kept["study"], kept["quadrant"], kept["measured"]) == (
            *("monday", "interactive", False),
        )
        best = json.loads((study / "summary.json").read_text())["best"]["interactive"]
        assert (kept["trial"], kept["config"]) == (best["trial"], best["config"])
        if path.suffix != ".json":
            assert "SIMULATED, not measured" in path.read_text()


def test_a_file_that_is_there_is_kept_until_forced(study: Path, tune: Tune) -> None:
    asked = ("export", study, "--quadrant=interactive", "--to=vllm")
    assert tune(*asked).status == 0
    path = study / "exports" / "vllm" / "interactive.yaml"
    path.write_text("mine")
    again = tune(*asked)
    assert (again.status, again.err) == (
        2,
        f"tune: {path} is there already; --force replaces it, --out names a folder.\n",
    )
    assert path.read_text() == "mine"
    assert tune(*asked, "--force").status == 0
    assert path.read_text() != "mine"


def test_an_unchecked_file_says_so(study: Path, tune: Tune, tmp_path: Path) -> None:
    tune("export", study, "--quadrant=interactive", "--to=vllm", "--no-check", f"--out={tmp_path}")
    path = tmp_path / "interactive.yaml"
    assert "# NOT CHECKED (--no-check)." in path.read_text()
    kept = yaml.safe_load(Path(f"{path}.provenance.yaml").read_text())
    assert kept["checked"] == {"by": [], "not_installed": []}


def test_targets_and_quadrants_that_are_not_there_are_listed(study: Path, tune: Tune) -> None:
    ended = tune("export", study, "--quadrant=interactive", "--to=nomad")
    assert ended.status == 2
    assert ended.err == f"tune: There is no target 'nomad'; --to takes {', '.join(TARGETS)}.\n"
    ended = tune("export", study, "--quadrant=II", "--to=vllm")
    assert (ended.status, ended.err) == (
        2,
        "tune: There is no quadrant 'II'; --quadrant takes live-at-scale, interactive, economy, "
        "bulk.\n",
    )


def test_a_quadrant_without_a_winner_says_why(tmp_path: Path, tune: Tune) -> None:
    folder = tmp_path / "study"
    tune(*WINNERLESS, "--trials=2", "--quiet", f"--output={folder}")
    ended = tune("export", folder, "--quadrant=interactive", "--to=vllm")
    assert ended.status == 2
    assert ended.err.startswith("tune: interactive has no winner: no trial kept its SLA (nearest:")


def test_a_setting_that_a_target_cannot_say_is_named(study: Path, tune: Tune) -> None:
    ended = tune("export", study, "--quadrant=interactive", "--to=env", "--model=/my models/llama")
    assert (ended.status, ended.err) == (
        2,
        "tune: env: `model` cannot be said there: '/my models/llama' would not survive a shell.\n",
    )


def test_help_names_every_target(tune: Tune) -> None:
    said = "".join(tune("export", "--help").out.split())  # it breaks lines at dashes, too
    assert [name for name in TARGETS if name not in said] == []
    assert "Example:tuneexport" in said
