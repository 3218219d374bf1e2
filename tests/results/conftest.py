"""A database with MLflow's tables, made once: that takes seconds."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import results

ROOT = str(Path(results.__file__).parents[1])
NEW_STUDY = """
from pathlib import Path
from results.mlflow import MlflowStudy, StudyFacts
MlflowStudy("sqlite:///mlflow.db", StudyFacts(
    study="first", study_id="first", objective="chat", engine="vllm", engine_version="0.32.0",
    simulated=True, model="another", gpu="h100_sxm", gpus=4, seed=0, parameters={},
))
"""


@pytest.fixture(scope="session")
def first_study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A database made by a process of its own, and what that process printed."""
    folder = tmp_path_factory.mktemp("first")
    done = subprocess.run(
        [sys.executable, "-c", NEW_STUDY],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": ROOT},
        capture_output=True,
        text=True,
        check=True,
    )
    return folder, done.stdout + done.stderr


@pytest.fixture
def uri(first_study: tuple[Path, str], tmp_path: Path) -> str:
    """A database with MLflow's tables; making them anew takes seconds."""
    shutil.copy(first_study[0] / "mlflow.db", tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path / 'mlflow.db'}"
