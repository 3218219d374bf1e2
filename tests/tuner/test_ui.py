"""``tune ui``: the pages of a study on loopback, and nothing left when it ends."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import psutil
import pytest

import results
from tests.tuner.conftest import QUICK, Tune
from tuner.ui import interruptible

# MLflow 3.17's tables under SQLAlchemy 2.1.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")

ROOT = Path(results.__file__).parents[1]
STUDY = (*QUICK, "--trials=1", "--pairs=0", "--quiet", "--study=monday")


@pytest.fixture
def mirrored(tmp_path: Path, tune: Tune) -> Path:
    """A study in a database beside its folder."""
    folder = tmp_path / "study"
    uri = f"--mlflow=sqlite:///{tmp_path}/mlflow.db"
    ended = tune(*(o for o in STUDY if o != "--mlflow=off"), uri, f"--output={folder}")
    assert (ended.status, ended.err) == (0, "")
    return folder


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where nothing was tuned, and nobody says that something was."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def started(folder: Path, cwd: Path) -> tuple["subprocess.Popen[str]", str]:
    """The command once it shows pages, and their address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tuner", "ui", str(folder), "--no-browser"],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("MLflow: http://127.0.0.1:"), (line, process.communicate())
    return process, line.removeprefix("MLflow: ").strip()


@pytest.fixture
def shown(mirrored: Path, tmp_path: Path) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    cwd = tmp_path / "elsewhere"
    cwd.mkdir()
    process, link = started(mirrored, cwd)
    try:
        yield process, link
        assert list(cwd.iterdir()) == []
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("ended_by", [signal.SIGINT, signal.SIGKILL])
def test_pages_are_shown_until_it_ends_and_no_process_is_left(
    shown: tuple["subprocess.Popen[str]", str], ended_by: signal.Signals
) -> None:
    process, link = shown
    host, _, page = link.partition("/#/")
    assert page.startswith("experiments/1/runs?viewStateShareKey=")
    with urlopen(f"{host}/") as answer:
        assert "<title>MLflow" in answer.read().decode()
    children = psutil.Process(process.pid).children(recursive=True)
    listening = [
        c.laddr for child in children for c in child.net_connections() if c.status == "LISTEN"
    ]
    assert {address.ip for address in listening} == {"127.0.0.1"}
    process.send_signal(ended_by)
    _, err = process.communicate()
    assert (process.returncode, err) == (-9 if ended_by is signal.SIGKILL else 0, "")
    _, alive = psutil.wait_procs(children, timeout=60)
    assert alive == []


def test_a_study_that_mlflow_does_not_have_is_sent_to_sync(
    tmp_path: Path, tune: Tune, empty: Path
) -> None:
    folder = tmp_path / "study"
    tune(*STUDY, f"--output={folder}")
    ended = tune("ui", folder)
    said = (
        "tune: This study was told --mlflow off; "
        f"`tune sync {folder} --mlflow URI` writes it to one.\n"
    )
    assert (ended.status, ended.out, ended.err) == (2, "", said)
    ended = tune("ui", folder, f"--mlflow=sqlite:///{tmp_path}/none.db")
    said = (
        f"tune: MLflow at sqlite:///{tmp_path}/none.db has nothing of this study; "
        f"`tune sync {folder}` writes it.\n"
    )
    assert (ended.status, ended.out, ended.err) == (2, "", said)
    assert not (tmp_path / "none.db").exists()


def test_without_any_study_there_is_nothing_to_show(tune: Tune, empty: Path) -> None:
    ended = tune("ui")
    said = "tune: There is no studies/mlflow.db here; name a study's folder.\n"
    assert (ended.status, ended.out, ended.err) == (2, "", said)


def test_a_server_that_runs_is_opened_where_it_is_without_its_password(
    tune: Tune, empty: Path
) -> None:
    ended = tune("ui", "--mlflow=http://me:s3cret@127.0.0.1:1")
    said = "MLflow: http://127.0.0.1:1/#/experiments?workflowType=machine_learning\n"
    assert (ended.status, ended.out, ended.err) == (0, said, "")


def test_a_server_named_by_the_environment_is_opened(
    tune: Tune, empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    said = "MLflow: http://127.0.0.1:1/#/experiments?workflowType=machine_learning\n"
    assert tune("ui").out == said


def test_a_server_that_is_not_there_is_one_line(
    mirrored: Path, tune: Tune, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    ended = tune("ui", mirrored, f"--mlflow=http://me:s3cret@127.0.0.1:{port}")
    said = f"tune: MLflow at http://127.0.0.1:{port} failed: [Errno 111] Connection refused\n"
    assert (ended.status, ended.out, ended.err) == (2, "", said)


def test_a_port_that_is_taken_is_refused(mirrored: Path, tune: Tune) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        ended = tune("ui", mirrored, f"--port={port}")
    said = f"tune: Port {port} is taken; give another --port, or none.\n"
    assert (ended.status, ended.out, ended.err) == (2, "", said)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_whatever_ends_it_ends_it_in_order(number: signal.Signals) -> None:
    # Whoever runs the tests may have them ignore it, as `nohup` does.
    before = signal.signal(number, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), interruptible():
            signal.raise_signal(number)
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, before)


def test_what_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruptible():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
