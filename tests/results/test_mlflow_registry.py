"""Winners as versions of a registered model, downloaded by an alias."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from results.mlflow import MlflowStudy, StudyFacts
from results.mlflow_registry import model_name
from tests.results.test_mlflow import FACTS, reader, trial

# MLflow 3.17's tables under SQLAlchemy 2.1.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")

NAME = "chat-qwen3-8b-4xh100_sxm-simulated"
BEST: dict[str, Any] = {
    "trial": 1,
    "goal": {"metric": "p95_ttft_ms", "value": 400.0},
    "gain": {"ratio": 1.4, "low": 1.25, "high": 1.57},
    "confirmed": True,
}


def finish(uri: str, file: Path, facts: StudyFacts = FACTS, **best: Any) -> None:
    summary = {"best": {"interactive": {**BEST, **best}, "bulk": None}}
    records = [trial(1), trial(2)]
    MlflowStudy(uri, facts).finish(summary, [], records, {"interactive": file, "bulk": file})


def downloaded(alias: str, folder: Path) -> dict[str, str]:
    """What ``models:/NAME@alias`` holds, for a host that knows the server by its environment."""
    from mlflow.artifacts import download_artifacts

    folder.mkdir()
    place = download_artifacts(f"models:/{NAME}@{alias}", dst_path=str(folder))
    return {path.name: path.read_text() for path in Path(place).rglob("*") if path.is_file()}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "interactive.yaml"
    path.write_text("max-num-seqs: 256\n")
    return path


def test_a_winner_is_downloaded_by_the_name_of_its_quadrant(
    uri: str, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    finish(uri, file)
    assert downloaded("interactive", tmp_path / "down") == {
        "interactive.yaml": "max-num-seqs: 256\n"
    }
    model = reader(uri).get_registered_model(NAME)
    # `bulk` has a file but no winner.
    assert {alias: str(version) for alias, version in model.aliases.items()} == {
        "interactive": "1"
    }


def test_a_version_says_what_it_is_worth_and_whose_trial_it_is(uri: str, file: Path) -> None:
    finish(uri, file)
    version = reader(uri).get_model_version_by_alias(NAME, "interactive")
    tags = {name: value for name, value in version.tags.items() if name != "tuner.sha256"}
    assert tags == {
        "tuner.study": "chat-monday",
        "tuner.study_id": "chat-monday@2026-11-21T10:00:00Z",
        "tuner.trial": "1",
        "tuner.quadrant": "interactive",
        "tuner.goal": "p95_ttft_ms 400",
        "tuner.gain": "1.4 (1.25 to 1.57)",
        "tuner.confirmed": "true",
        "tuner.simulated": "true",
        "engine.version": "0.32.0",
    }
    assert version.run_id is not None
    assert reader(uri).get_run(version.run_id).data.tags["tuner.trial"] == "1"
    assert version.description == "Start a server with: vllm serve --config interactive.yaml"


def test_finishing_again_registers_nothing_and_takes_no_alias_back(uri: str, file: Path) -> None:
    finish(uri, file)
    earlier = file.read_text()
    file.write_text("max-num-seqs: 64\n")
    finish(uri, file, replace(FACTS, study="tuesday", study_id="tuesday"))
    file.write_text(earlier)
    finish(uri, file)
    assert len(reader(uri).search_model_versions(f"name = '{NAME}'")) == 2
    version = reader(uri).get_model_version_by_alias(NAME, "interactive")
    assert version.tags["tuner.study"] == "tuesday"


def test_a_later_winner_takes_the_alias_and_leaves_the_earlier_version_as_it_was(
    uri: str, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    finish(uri, file)
    reader(uri).set_registered_model_alias(NAME, "production", "1")
    file.write_text("max-num-seqs: 64\n")
    finish(uri, file, replace(FACTS, study="tuesday", study_id="tuesday"))
    assert downloaded("interactive", tmp_path / "new") == {
        "interactive.yaml": "max-num-seqs: 64\n"
    }
    assert downloaded("production", tmp_path / "old") == {
        "interactive.yaml": "max-num-seqs: 256\n"
    }


def test_a_study_without_files_registers_no_model(uri: str) -> None:
    MlflowStudy(uri, FACTS).finish({"best": {"interactive": BEST}}, [], [trial(1)])
    assert list(reader(uri).search_registered_models()) == []


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({}, NAME),
        ({"simulated": False}, "chat-qwen3-8b-4xh100_sxm"),
        ({"model": "Qwen/Qwen3-8B"}, "chat-Qwen-Qwen3-8B-4xh100_sxm-simulated"),
        ({"model": "/models/a:b"}, "chat-models-a-b-4xh100_sxm-simulated"),
    ],
)
def test_a_model_is_named_after_what_was_tuned(changed: dict[str, Any], name: str) -> None:
    assert model_name(replace(FACTS, **changed)) == name
