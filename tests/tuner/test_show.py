"""MLflow beside a study: never a trial lost or kept waiting for it, and made good afterwards."""

import json
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.tuner.conftest import QUICK, Tune
from tuner.mirror import Mirror

# MLflow 3.17's tables under SQLAlchemy 2.1.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")

STUDY = (*QUICK, "--trials=2", "--quiet", "--study=monday")


@pytest.fixture
def dead() -> str:
    """The address of a server that is not there, with a password."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://me:s3cret@127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a server that takes connections and never answers."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def done(folder: Path) -> int:
    return int(json.loads((folder / "summary.json").read_text())["trials"]["done"])


def runs(uri: str) -> dict[str, str]:
    """Names and states of all runs."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    found = client.search_runs([e.experiment_id for e in client.search_experiments()])
    return {str(run.info.run_name): run.info.status for run in found}


def test_a_dead_server_costs_no_trial_and_sync_makes_it_good_once(
    dead: str, tmp_path: Path, tune: Tune
) -> None:
    folder, uri = tmp_path / "study", f"sqlite:///{tmp_path}/mlflow.db"
    ended = tune(*STUDY, f"--mlflow={dead}", f"--output={folder}")
    public = dead.replace("me:s3cret@", "")
    assert (ended.status, ended.err) == (
        0,
        f"MLflow at {public} failed: [Errno 111] Connection refused; "
        f"`tune sync {folder} --mlflow URI` makes it good.\n",
    )
    assert done(folder) == 2
    first = tune("sync", folder, f"--mlflow={uri}")
    again = tune("sync", folder)
    assert (first.status, first.err, again.status, again.err) == (0, "", 0, "")
    assert first.out.startswith("2 of 2 trials were missing in MLflow; all are there.\nhttp://")
    assert again.out.startswith("0 of 2 trials were missing in MLflow; all are there.\nhttp://")
    names = runs(uri)
    assert sorted(name.split()[0] for name in names) == ["monday", "t000", "t001"]
    assert set(names.values()) == {"FINISHED"}


def test_a_silent_server_costs_no_trial_and_the_study_ends_as_it_would(
    silent: str, tmp_path: Path, tune: Tune
) -> None:
    folder = tmp_path / "study"
    ended = tune(*STUDY, f"--mlflow={silent}", f"--output={folder}")
    said = f"MLflow at {silent} failed: Read timed out; `tune sync {folder}` makes it good.\n"
    assert (ended.status, ended.err) == (0, said)
    assert done(folder) == 2
    synced = tune("sync", folder)
    said = f"tune: MLflow at {silent} failed: Read timed out\n"
    assert (synced.status, synced.out, synced.err) == (2, "", said)


def test_ctrl_c_ends_the_wait_for_mlflow_but_not_the_study(
    tmp_path: Path, tune: Tune, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: Any, **kwargs: Any) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Mirror, "finish", interrupted)
    monkeypatch.setattr(Mirror, "write", lambda mirror, record: None)
    monkeypatch.setattr("tuner.run.open_mlflow", lambda *args: None)
    folder = tmp_path / "study"
    ended = tune(*STUDY, f"--mlflow=sqlite:///{tmp_path}/m.db", f"--output={folder}")
    said = f"MLflow has not taken all of the study; `tune sync {folder}` makes it good.\n"
    assert (ended.status, ended.err) == (0, said)


def test_a_study_told_to_leave_mlflow_out_is_not_synced_by_itself(
    tmp_path: Path, tune: Tune
) -> None:
    folder = tmp_path / "study"
    assert tune(*STUDY, f"--output={folder}").err == ""
    synced = tune("sync", folder)
    said = "tune: This study was told --mlflow off; name a server with --mlflow URI.\n"
    assert (synced.status, synced.out, synced.err) == (2, "", said)


def test_showing_a_study_changes_nothing_of_it(tmp_path: Path, tune: Tune) -> None:
    folder = tmp_path / "study"
    ran = tune(*STUDY, f"--output={folder}")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert tune("show", folder) == ran
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_an_unfinished_study_is_shown_as_far_as_it_got(
    tmp_path: Path, tune: Tune, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tuner import trial

    launch = trial.try_out
    launched: list[object] = []

    def interrupted(*args: Any) -> Any:
        launched.append(args)
        if len(launched) == 2:
            signal.raise_signal(signal.SIGINT)
        return launch(*args)

    monkeypatch.setattr("tuner.study.try_out", interrupted)
    folder = tmp_path / "study"
    assert tune(*STUDY, f"--output={folder}").status == 130
    shown = tune("show", folder, "--json")
    assert shown.status == 0
    assert json.loads(shown.out)["trials"]["done"] == 1
