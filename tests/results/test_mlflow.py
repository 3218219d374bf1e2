import json
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.error import URLError
from urllib.parse import parse_qs, unquote, urlsplit
from urllib.request import urlopen

import pytest

from objectives import Measurement, RequestResult, parse_sla
from results.mlflow import MlflowError, MlflowStudy, StudyFacts, public
from results.mlflow_page import find
from results.mlflow_runs import trial_metrics
from results.record import TrialRecord, judge_all
from search_spaces import Value
from tests.results.conftest import NEW_STUDY, ROOT

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

# MLflow 3.17's tables under SQLAlchemy 2.1.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")

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
    parameters={"trials": 3, "sla": "p95_ttft_ms<=500"},
)
CONFIG: dict[str, Value] = {
    "tensor_parallel_size": 2,
    "max_num_seqs": 256,
    "kv_cache_dtype": "auto",
    "eager": True,
}
SUMMARY: dict[str, Any] = {"best": {}, "front": []}


def measured(ttft_ms: float = 400.0) -> Measurement:
    request = RequestResult(0.0, 100, 11, ttft_ms=ttft_ms, e2el_ms=ttft_ms + 100.0)
    return Measurement(
        results=(request,) * 4, duration_s=2.0, gpus=4, engine={"mean_running": 1.5}
    )


def trial(number: int, ttft_ms: float = 400.0, **changes: Any) -> TrialRecord:
    measurement = measured(ttft_ms)
    record = TrialRecord(
        number=number,
        objective="chat",
        config=CONFIG,
        origin="sampler",
        loads={
            "offered": measurement.metrics,
            "capacity": {"capacity_per_gpu": 1.25, "probes": [{"rate": 5.0}], "gpus_needed": 2},
        },
        sla=judge_all(parse_sla("p95_ttft_ms<=500,mean_itl_ms<=40"), measurement),
        engine_s=30.0,
        launch_id=number,
    )
    return replace(record, **changes)


def refused(number: int, detail: str) -> TrialRecord:
    failure = {"kind": "refused", "detail": detail}
    return trial(number, loads={}, sla={}, failure=failure)


def reader(uri: str) -> "MlflowClient":
    # Imported late: the telemetry switch is read on import and set by results.mlflow.
    from mlflow import MlflowClient

    return MlflowClient(uri)


def runs(uri: str, study_id: str = FACTS.study_id) -> dict[str, "Run"]:
    """Every run of a study, by name."""
    client = reader(uri)
    experiments = [e.experiment_id for e in client.search_experiments()]
    found = client.search_runs(experiments)
    return {
        str(run.info.run_name): run
        for run in found
        if run.data.tags.get("tuner.study_id") == study_id
    }


def own_tags(run: "Run") -> dict[str, str]:
    return {key: value for key, value in run.data.tags.items() if key != "mlflow.runName"}


@pytest.fixture
def server(uri: str, tmp_path: Path) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    host = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--workers", "1", "--backend-store-uri", uri]
    command += ["--artifacts-destination", str(tmp_path / "served")]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        env={
            **os.environ,
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_until_ready(host, process)
        yield host
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_until_ready(host: str, process: subprocess.Popen[bytes]) -> None:
    deadline_s = time.monotonic() + 120
    while time.monotonic() < deadline_s and process.poll() is None:
        try:
            with urlopen(f"{host}/health", timeout=1):
                return
        except (URLError, TimeoutError):
            time.sleep(0.2)
    pytest.fail("The MLflow server did not start.")


def test_a_new_database_is_made_without_a_word_on_the_terminal(
    first_study: tuple[Path, str],
) -> None:
    folder, printed = first_study
    assert (printed, [path.name for path in folder.iterdir()]) == ("", ["mlflow.db"])


def test_a_database_cut_short_in_the_making_is_not_left_under_its_name(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": ROOT}
    process = subprocess.Popen([sys.executable, "-c", NEW_STUDY], cwd=tmp_path, env=environment)
    while process.poll() is None and not any(tmp_path.iterdir()):
        time.sleep(0.01)
    process.kill()
    process.wait()
    (unfinished,) = (path.name for path in tmp_path.iterdir() if "journal" not in path.name)
    assert unfinished.startswith(".mlflow.db.")


def test_a_study_is_a_run_with_what_was_asked_for(uri: str) -> None:
    MlflowStudy(uri, FACTS)
    (run,) = runs(uri).values()
    assert (run.info.run_name, run.info.status) == ("chat-monday", "RUNNING")
    assert run.data.params == {
        "trials": "3",
        "sla": "p95_ttft_ms<=500",
        "engine": "vllm",
        "engine_version": "0.32.0",
        "model": "qwen3-8b",
        "gpu": "h100_sxm",
        "gpus": "4",
        "seed": "7",
    }
    assert own_tags(run) == {
        "tuner.kind": "study",
        "tuner.study": "chat-monday",
        "tuner.study_id": "chat-monday@2026-11-21T10:00:00Z",
        "tuner.objective": "chat",
        "tuner.simulated": "true",
        "gpu.name": "h100_sxm",
        "engine.version": "0.32.0",
    }


def test_a_trial_is_a_run_under_the_study_with_all_it_measured(uri: str) -> None:
    assert MlflowStudy(uri, FACTS).write(trial(17))
    found = runs(uri)
    run, parent = found["t017 tp2 seqs256 met"], found["chat-monday"]
    latencies = {
        f"latency/{kind}_{name}_ms": value
        for kind in ("mean", "median", "p90", "p95", "p99")
        for name, value in (("ttft", 400.0), ("tpot", 10.0), ("e2el", 500.0))
    }
    assert run.data.metrics == latencies | {
        "latency/mean_itl_ms": 10.0,
        "throughput/request_throughput": 2.0,
        "throughput/output_throughput": 22.0,
        "throughput/total_token_throughput": 222.0,
        "throughput/output_throughput_per_gpu": 5.5,
        "capacity/capacity_per_gpu": 1.25,
        "capacity/gpus_needed": 2.0,
        "requests/completed": 4.0,
        "requests/failed": 0.0,
        "requests/duration_s": 2.0,
        "engine/mean_running": 1.5,
        "sla/p95_ttft_ms_share": 1.0,
        "sla/p95_ttft_ms_excess": pytest.approx(-0.3219280948873623),
        "sla/mean_itl_ms_excess": -2.0,
        "cost/engine_s": 30.0,
        "config/tensor_parallel_size": 2.0,
        "config/max_num_seqs": 256.0,
        "config/eager": 1.0,
    }
    assert run.data.params == {knob: str(value) for knob, value in CONFIG.items()}
    assert own_tags(run) == own_tags(parent) | {
        "mlflow.parentRunId": parent.info.run_id,
        "tuner.kind": "trial",
        "tuner.trial": "17",
        "tuner.origin": "sampler",
        "tuner.baseline": "false",
        "tuner.feasible": "true",
        "tuner.front": "false",
        "tuner.stopped_early": "false",
    }
    assert run.info.status == "FINISHED"


def test_a_trial_keeps_its_record_and_config_as_files_beside_the_database(
    uri: str, tmp_path: Path
) -> None:
    MlflowStudy(uri, FACTS).write(trial(17))
    folder = next((tmp_path / "mlartifacts").rglob("record.json")).parent
    assert TrialRecord.from_json((folder / "record.json").read_text()) == trial(17)
    assert json.loads((folder / "config.json").read_text()) == CONFIG


def test_a_failed_trial_is_a_failed_run_that_says_why(uri: str) -> None:
    MlflowStudy(uri, FACTS).write(refused(3, "x" * 6000))
    run = runs(uri)["t003 tp2 seqs256 refused"]
    said = {
        key: run.data.tags[f"tuner.{key}"] for key in ("failure", "failure_detail", "feasible")
    }
    assert said == {"failure": "refused", "failure_detail": "x" * 5000, "feasible": "false"}
    assert run.info.status == "FAILED"


def test_the_default_config_is_the_baseline_and_a_broken_promise_is_in_the_name(uri: str) -> None:
    MlflowStudy(uri, FACTS).write(trial(0, ttft_ms=900.0, origin="default"))
    run = runs(uri)["t000 tp2 seqs256 broken"]
    kind = {key: run.data.tags[f"tuner.{key}"] for key in ("kind", "baseline", "feasible")}
    assert kind == {"kind": "baseline", "baseline": "true", "feasible": "false"}


def test_what_is_not_a_finite_number_is_no_metric() -> None:
    loads = {
        "offered": {"p95_ttft_ms": None, "p95_e2el_ms": math.inf, "mean_itl_ms": 7.0},
        "capacity": {"probes": [{"rate": 5.0}], "headroom": math.nan},
    }
    metrics = trial_metrics(trial(1, loads=loads, sla={}, config={}))
    assert metrics == {"latency/mean_itl_ms": 7.0, "cost/engine_s": 30.0}


def test_a_metric_name_mlflow_would_refuse_is_respelt(uri: str) -> None:
    loads = {"offered": {"hits (%)": 3.0}}
    MlflowStudy(uri, FACTS).write(trial(1, loads=loads, sla={}, config={}))
    assert runs(uri)["t001 met"].data.metrics == {"engine/hits ___": 3.0, "cost/engine_s": 30.0}


def test_a_trial_no_engine_was_launched_for_is_not_written(uri: str) -> None:
    assert not MlflowStudy(uri, FACTS).write(trial(1, launch_id=None))
    assert list(runs(uri)) == ["chat-monday"]


def test_a_trial_written_before_is_left_alone(uri: str) -> None:
    first = MlflowStudy(uri, FACTS)
    first.write(trial(1))
    before = runs(uri)["t001 tp2 seqs256 met"].to_dictionary()
    again = MlflowStudy(uri, FACTS)
    assert [study.write(trial(1, ttft_ms=1.0)) for study in (first, again)] == [False, False]
    assert runs(uri)["t001 tp2 seqs256 met"].to_dictionary() == before
    assert len(runs(uri)) == 2


def test_a_trial_written_by_half_is_completed(uri: str) -> None:
    MlflowStudy(uri, FACTS).write(trial(1))
    begun = runs(uri)["t001 tp2 seqs256 met"]
    reader(uri).update_run(begun.info.run_id, status="RUNNING")
    assert MlflowStudy(uri, FACTS).write(trial(1))
    run = runs(uri)["t001 tp2 seqs256 met"]
    assert (run.info.run_id, run.info.status) == (begun.info.run_id, "FINISHED")
    history = reader(uri).get_metric_history(run.info.run_id, "latency/p95_ttft_ms")
    assert [point.value for point in history] == [400.0]


def test_a_finished_study_shows_its_front_its_winners_and_its_summary(
    uri: str, tmp_path: Path
) -> None:
    (tmp_path / "report.html").write_text("report")
    summary = {
        "trials": {"done": 2, "failed": 0},
        "cost": {"wall_s": 61.5, "gpu_hours": None},
        "front": [{"trial": 1}],
        "best": {
            "interactive": {
                "trial": 1,
                "goal": {"metric": "p95_ttft_ms", "value": 400.0},
                "gain": {"ratio": 1.4, "low": None, "high": None},
            },
            "economy": {"trial": 1, "goal": {"metric": "gpus_needed", "value": 2}, "gain": None},
            "bulk": None,
        },
    }
    MlflowStudy(uri, FACTS).finish(summary, [tmp_path / "report.html"], [trial(1), trial(2)])
    found = runs(uri)
    parent = found["chat-monday"]
    standing = {
        name: (run.data.tags["tuner.front"], run.data.tags.get("tuner.quadrant"))
        for name, run in found.items()
        if run is not parent
    }
    assert standing == {
        "t001 tp2 seqs256 met": ("true", "interactive,economy"),
        "t002 tp2 seqs256 met": ("false", None),
    }
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics == {
        "trials/done": 2.0,
        "trials/failed": 0.0,
        "cost/wall_s": 61.5,
        "best/interactive p95_ttft_ms": 400.0,
        "best/interactive gain": 1.4,
        "best/economy gpus_needed": 2.0,
    }
    (report,) = (tmp_path / "mlartifacts").rglob("report.html")
    assert report.read_text() == "report"


def test_a_resumed_study_moves_its_marks_and_its_numbers(uri: str) -> None:
    records = [trial(1), trial(2)]
    for winner in (1, 2):
        summary = {
            "front": [{"trial": winner}],
            "best": {"bulk": {"trial": winner, "goal": {"metric": "m", "value": 3.0 - winner}}},
        }
        MlflowStudy(uri, FACTS).finish(summary, [], records)
    found = runs(uri)
    marks = {
        name: (run.data.tags["tuner.front"], run.data.tags["tuner.quadrant"])
        for name, run in found.items()
        if name.startswith("t0")
    }
    assert marks == {
        "t001 tp2 seqs256 met": ("false", ""),
        "t002 tp2 seqs256 met": ("true", "bulk"),
    }
    assert found["chat-monday"].data.metrics == {"best/bulk m": 1.0}


def test_in_a_study_of_all_objectives_a_trial_is_known_by_number_and_objective(uri: str) -> None:
    facts = replace(FACTS, objective="all")
    records = [trial(1), trial(1, objective="rag")]
    summary = {
        "front": [{"trial": 1, "objective": "chat"}],
        "best": {"live-at-scale": {"trial": 1, "objective": "rag"}},
    }
    MlflowStudy(uri, facts).finish(summary, [], records)
    marks = {
        name: (run.data.tags["tuner.front"], run.data.tags.get("tuner.quadrant"))
        for name, run in runs(uri).items()
        if name.startswith("t0")
    }
    assert marks == {
        "t001 chat tp2 seqs256 met": ("true", None),
        "t001 rag tp2 seqs256 met": ("false", "live-at-scale"),
    }


def test_studies_of_one_workload_share_an_experiment_and_no_runs(uri: str) -> None:
    other = replace(FACTS, study='it\'s "another"', study_id='it\'s "another"')
    for facts in (FACTS, other, other):
        MlflowStudy(uri, facts).write(trial(1))
    both = [runs(uri, facts.study_id) for facts in (FACTS, other)]
    assert [set(found) for found in both] == [
        {"chat-monday", "t001 tp2 seqs256 met"},
        {'it\'s "another"', "t001 tp2 seqs256 met"},
    ]
    assert len({run.info.experiment_id for found in both for run in found.values()}) == 1
    names = {e.name for e in reader(uri).search_experiments()}
    assert names == {"Default", "chat, another, 4 x h100_sxm", "chat, qwen3-8b, 4 x h100_sxm"}


def test_the_link_opens_the_comparison_of_the_studys_trials(uri: str) -> None:
    study = MlflowStudy(uri, FACTS)
    wide = trial(2, config={**CONFIG, "max_num_seqs": 512, "kv_cache_dtype": "fp8"})
    study.finish(SUMMARY, [], [trial(1), wide])
    parent = runs(uri)["chat-monday"].info
    address = urlsplit(study.link)
    path, _, query = address.fragment.partition("?")
    children = f"tags.`mlflow.parentRunId` = '{parent.run_id}'"
    assert f"{address.scheme}://{address.netloc}{path}" == (
        f"http://127.0.0.1:5000/experiments/{parent.experiment_id}/runs"
    )
    assert parse_qs(query) == {
        "viewStateShareKey": [parent.run_id],
        "compareRunsMode": ["CHART"],
        "workflowType": ["machine_learning"],
    }
    tags = reader(uri).get_experiment(parent.experiment_id).tags
    page = json.loads(tags[f"mlflow.sharedViewState.{parent.run_id}"])
    charts = {chart["displayName"]: chart for chart in page["compareRunCharts"]}
    assert page["searchFilter"] == children
    assert list(charts) == [
        "settings to outcome",
        "capacity/capacity_per_gpu against latency/p95_ttft_ms",
        "throughput/output_throughput_per_gpu against latency/p95_ttft_ms",
    ]
    varied = ["max_num_seqs", "kv_cache_dtype"]
    assert charts["settings to outcome"]["selectedParams"] == varied
    assert charts["settings to outcome"]["selectedMetrics"] == [
        "capacity/capacity_per_gpu",
        "throughput/output_throughput_per_gpu",
        "latency/p95_ttft_ms",
    ]
    assert [(s["name"], s["columns"]) for s in page["compareRunSections"]] == [
        ("From settings to outcome", 1),
        ("What the search was after", 2),
    ]
    assert len(json.dumps(page)) < 8000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://me:s3cret@host:5000/a", "http://host:5000/a"),
        ("postgresql://me:s3/cr@et@host/db", "postgresql://host/db"),
        ("postgresql://host/db?user=me&password=s3cret", "postgresql://host/db"),
        ("no http://token@host/x here", "no http://host/x here"),
        ("sqlite:////home/me@here/mlflow.db", "sqlite:////home/me@here/mlflow.db"),
        ("http://host:5000", "http://host:5000"),
    ],
)
def test_an_address_is_shown_without_its_secrets(text: str, expected: str) -> None:
    assert public(text) == expected


def test_a_dead_server_is_named_without_its_password() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(MlflowError) as caught:
        MlflowStudy(f"http://me:s3cret@127.0.0.1:{port}", FACTS)
    assert str(caught.value) == (
        f"MLflow at http://127.0.0.1:{port} failed: [Errno 111] Connection refused"
    )
    assert caught.value.__suppress_context__


def test_a_file_that_is_no_database_is_an_error_at_once(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    path.write_text("a diary, not a database" * 100)
    with pytest.raises(MlflowError) as caught:
        MlflowStudy(f"sqlite:///{path}", FACTS)
    assert str(caught.value) == f"MLflow at sqlite:///{path} failed: file is not a database"


def test_a_password_among_the_parameters_is_not_stored(uri: str) -> None:
    MlflowStudy(uri, replace(FACTS, parameters={"storage": "postgresql://me:s3cret@host/db"}))
    assert runs(uri)["chat-monday"].data.params["storage"] == "postgresql://host/db"


def test_a_server_gets_the_whole_study_and_the_terminal_nothing(
    server: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "report.html").write_text("report")
    study = MlflowStudy(server, FACTS)
    study.finish({"front": [{"trial": 1}]}, [tmp_path / "report.html"], [trial(1), refused(2, "")])
    assert capfd.readouterr() == ("", "")
    found = runs(server)
    assert {
        name: (run.info.status, run.data.tags.get("tuner.front")) for name, run in found.items()
    } == {
        "chat-monday": ("FINISHED", None),
        "t001 tp2 seqs256 met": ("FINISHED", "true"),
        "t002 tp2 seqs256 refused": ("FAILED", "false"),
    }
    run_id = found["t001 tp2 seqs256 met"].info.run_id
    kept = reader(server).download_artifacts(run_id, "record.json", str(tmp_path))
    assert TrialRecord.from_json(Path(kept).read_text()) == trial(1)
    assert unquote(study.link).startswith(f"{server}/#/experiments/")


WORDED = replace(FACTS, words={"kv_cache_dtype": ("auto", "fp8")})


@pytest.mark.parametrize(("value", "number"), [("auto", 0.0), ("fp8", 1.0), ("fp8_e5m2", 2.0)])
def test_a_knob_of_words_is_a_number_too(uri: str, value: str, number: float) -> None:
    MlflowStudy(uri, WORDED).write(trial(1, config={**CONFIG, "kv_cache_dtype": value}))
    found = runs(uri)
    data = found["t001 tp2 seqs256 met"].data
    assert (data.metrics["config/kv_cache_dtype"], data.params["kv_cache_dtype"]) == (
        number,
        value,
    )
    assert found["chat-monday"].data.params["numbers/kv_cache_dtype"] == "0 auto, 1 fp8, 2 others"


def test_trials_are_found_by_numbers_of_words_and_by_quadrant(uri: str) -> None:
    other = trial(2, config={**CONFIG, "kv_cache_dtype": "fp8"})
    summary = {"best": {"bulk": {"trial": 1}, "interactive": {"trial": 1}}}
    MlflowStudy(uri, WORDED).finish(summary, [], [trial(1), other])
    client = reader(uri)
    experiments = [e.experiment_id for e in client.search_experiments()]

    def found(condition: str) -> list[str]:
        return [str(run.info.run_name) for run in client.search_runs(experiments, condition)]

    assert found("metrics.`config/kv_cache_dtype` = 1") == ["t002 tp2 seqs256 met"]
    assert found("tags.`tuner.quadrant` LIKE '%interactive%'") == ["t001 tp2 seqs256 met"]
    assert found("metrics.`latency/p95_ttft_ms` <= 400 and tags.`tuner.feasible` = 'true'") == [
        "t002 tp2 seqs256 met",
        "t001 tp2 seqs256 met",
    ]


def test_a_trial_keeps_its_requests_and_its_latency_over_load(uri: str, tmp_path: Path) -> None:
    tables = tmp_path / "requests"
    tables.mkdir()
    (tables / "17.parquet").write_bytes(b"every request")
    probes = [
        {"level": 5.0, "holds": True, "p95_ttft_ms": 210.5},
        {"level": 10.0, "holds": False, "p95_ttft_ms": None},
    ]
    record = trial(17, loads={"capacity": {"probes": probes}})
    MlflowStudy(uri, FACTS, tables=tables).write(record)
    kept = {path.name: path for path in (tmp_path / "mlartifacts").rglob("*") if path.is_file()}
    assert sorted(kept) == ["17.parquet", "config.json", "latency_over_load.csv", "record.json"]
    assert kept["17.parquet"].read_bytes() == b"every request"
    assert kept["latency_over_load.csv"].read_text() == (
        "level,holds,p95_ttft_ms\n5.0,True,210.5\n10.0,False,\n"
    )


def test_a_study_has_its_page_and_a_stranger_has_none(uri: str) -> None:
    study = MlflowStudy(uri, FACTS)
    page = find(uri, FACTS.study_id)
    assert page is not None
    assert study.link == f"http://127.0.0.1:5000{page}"
    assert find(uri, "a stranger") is None


class Refusing(BaseHTTPRequestHandler):
    """A server that lets nobody in and remembers who asked."""

    seen: ClassVar[list[str | None]] = []

    def do_GET(self) -> None:
        self.seen.append(self.headers.get("Authorization"))
        self.send_error(401)

    do_POST = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_a_server_is_signed_in_to_by_its_usual_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "me")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "s3cret")
    with HTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        uri = f"http://127.0.0.1:{server.server_port}"
        with pytest.raises(MlflowError) as caught:
            MlflowStudy(uri, FACTS)
        server.shutdown()
    assert set(Refusing.seen) == {f"Basic {b64encode(b'me:s3cret').decode()}"}
    assert str(caught.value).startswith(f"MLflow at {uri} failed: ")
    assert "s3cret" not in str(caught.value)
