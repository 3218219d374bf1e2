import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import results
from objectives import Measurement, RequestResult, parse_sla
from results.mlflow import MlflowStudy, StudyFacts
from results.record import TrialRecord, judge_all
from tuner.mirror import Mirror, sync

# MLflow 3.17's tables under SQLAlchemy 2.1.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")

ROOT = str(Path(results.__file__).parents[1])
FACTS = StudyFacts(
    study="chat-monday",
    study_id="chat-monday@2026-11-21T10:00:00Z",
    objective="chat",
    engine="vllm",
    engine_version="0.32.0",
    simulated=True,
    model="qwen3-8b",
    gpu="h100_sxm",
    gpus=4,
    seed=7,
    parameters={},
)
UNHURRIED = """
import sys
from results.mlflow import MlflowStudy, StudyFacts
from tuner.mirror import Mirror

facts = StudyFacts(
    study="s", study_id="s", objective="chat", engine="vllm", engine_version="0.32.0",
    simulated=True, model="qwen3-8b", gpu="h100_sxm", gpus=4, seed=0, parameters={},
)
mirror = Mirror(lambda: MlflowStudy(sys.argv[1], facts))
print(mirror.finish({}, [], [], wait_s=5), mirror.trouble)
"""


def trial(number: int) -> TrialRecord:
    request = RequestResult(0.0, 100, 11, ttft_ms=400.0, e2el_ms=500.0)
    measurement = Measurement(results=(request,) * 4, duration_s=2.0, gpus=4)
    return TrialRecord(
        number=number,
        objective="chat",
        config={"max_num_seqs": 256},
        origin="sampler",
        loads={"offered": measurement.metrics},
        sla=judge_all(parse_sla("p95_ttft_ms<=500"), measurement),
        launch_id=number,
    )


def written(uri: str, study_id: str) -> list[str]:
    """Names of the study's runs that are there in full."""
    # Imported late: the telemetry switch is read on import and set by results.mlflow.
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    found = client.search_runs([e.experiment_id for e in client.search_experiments()])
    return sorted(
        str(run.info.run_name)
        for run in found
        if run.info.status == "FINISHED" and run.data.tags["tuner.study_id"] == study_id
    )


@pytest.fixture(scope="session")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


@pytest.fixture
def dead_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_trials_given_to_the_mirror_are_in_mlflow_when_it_has_finished(uri: str) -> None:
    mirror = Mirror(lambda: MlflowStudy(uri, FACTS))
    mirror.write(trial(1))
    link = mirror.finish({}, [], [trial(1), trial(2)])
    assert (link, mirror.trouble) == (MlflowStudy(uri, FACTS).link, None)
    assert written(uri, FACTS.study_id) == ["chat-monday", "t001 seqs256 met", "t002 seqs256 met"]


def test_sync_writes_what_is_missing_and_says_how_much_that_was(uri: str) -> None:
    facts = replace(FACTS, study="chat-tuesday", study_id="chat-tuesday")
    MlflowStudy(uri, facts).write(trial(1))
    records = [trial(1), trial(2), trial(3)]
    assert [sync(MlflowStudy(uri, facts), records, {}, []) for _ in range(2)] == [2, 0]
    assert written(uri, "chat-tuesday") == [
        "chat-tuesday",
        *(f"t00{n} seqs256 met" for n in (1, 2, 3)),
    ]


def test_a_dead_server_is_said_once_and_without_its_password(dead_port: int) -> None:
    uri = f"http://me:s3cret@127.0.0.1:{dead_port}"
    mirror = Mirror(lambda: MlflowStudy(uri, FACTS))
    mirror.write(trial(1))
    assert mirror.finish({}, [], [trial(1)]) is None
    assert mirror.trouble == (
        f"MLflow at http://127.0.0.1:{dead_port} failed: [Errno 111] Connection refused"
    )
    mirror.write(trial(2))


def test_a_silent_server_keeps_no_trial_waiting(
    silent_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It would take ten minutes to give up, so whatever returns has not waited for it.
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "600")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    mirror = Mirror(lambda: MlflowStudy(f"http://127.0.0.1:{silent_port}", FACTS))
    for number in range(1000):
        mirror.write(trial(number))
    assert mirror.trouble is None
    assert mirror.finish({}, [], [], wait_s=0.1) is None
    assert mirror.trouble == "MLflow has not taken all of the study within 0.1 s"


def test_a_server_silent_for_too_long_is_given_up(
    silent_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    mirror = Mirror(lambda: MlflowStudy(f"http://127.0.0.1:{silent_port}", FACTS))
    mirror.write(trial(1))
    assert mirror.finish({}, [], []) is None
    assert mirror.trouble == f"MLflow at http://127.0.0.1:{silent_port} failed: Read timed out"


def test_the_process_ends_although_the_server_is_silent(silent_port: int, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", UNHURRIED, f"http://127.0.0.1:{silent_port}"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": ROOT, "MLFLOW_HTTP_REQUEST_TIMEOUT": "600"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    said = "None MLflow has not taken all of the study within 5 s\n"
    assert (done.stdout, done.stderr) == (said, "")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_bug_in_the_writing_is_no_success() -> None:
    def stumble() -> MlflowStudy:
        raise ZeroDivisionError

    mirror = Mirror(stumble)
    assert mirror.finish({}, [], []) is None
    assert mirror.trouble == "MLflow has not taken all of the study"
