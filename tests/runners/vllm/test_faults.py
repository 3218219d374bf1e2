"""What goes wrong on a real engine ends as an ``EngineError`` soon, and leaves no process."""

import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import gettempdir

import psutil
import pytest

from objectives import Load, Request, Workload
from runners import EngineError, Failure, FailureKind, leftovers, telemetry
from runners.metrics import RUNNING, scrape
from runners.process import session_processes
from runners.vllm import VllmRunner, server
from runners.vllm.engine import VllmEngine
from runners.vllm.server import Order, serving
from runners.vllm.start import environment

from .conftest import Forked

SHORT = Load(workload=Workload(name="short", requests=(Request(0.0, 16, 4),) * 2))
LONG = Load(workload=Workload(name="long", requests=(Request(0.0, 32, 1500),) * 40, concurrency=4))


@pytest.fixture(autouse=True)
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where sessions are noted: one that is not over keeps its note, whoever is its parent."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    folder, before = leftovers.folder(), scratch()
    yield folder
    assert list(folder.iterdir()) == []
    assert children() == []
    assert scratch() - before == set()


def scratch() -> set[Path]:
    """Sockets and files of engines, in their own folders or, as vLLM has it, in everyone's."""
    kinds = ("paretune-vllm-*", "vllm_dist_*", "????????-????-????-????-????????????")
    return {path for kind in kinds for path in Path(gettempdir()).glob(kind)}


def children() -> list[list[str]]:
    """Processes there are but the launcher: engines, load clients and what they started."""
    below = psutil.Process().children(recursive=True)
    launcher = [p for p in psutil.Process().children() if "paretune_fork.py" in "".join(argv(p))]
    alive = [p for p in below if p.status() != psutil.STATUS_ZOMBIE]
    return [argv(process) for process in alive if process not in launcher]


def argv(process: psutil.Process) -> list[str]:
    return process.cmdline()


def session(notes: Path) -> int:
    [note] = notes.iterdir()
    return int(note.name.partition("-")[0])


def role(notes: Path, name: str) -> psutil.Process:
    """The API server leads the session, the engine core is its child, the worker the core's."""
    process = psutil.Process(session(notes))
    for _ in range(("api server", "engine core", "worker").index(name)):
        [process] = [p for p in process.children() if "resource_tracker" not in "".join(argv(p))]
    return process


@contextmanager
def once_serving(engine: VllmEngine, act: Callable[[], object]) -> Iterator[None]:
    """Does it as soon as requests are running."""
    engine.measure(SHORT)
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
            found = scrape(engine.running.server.url, 5.0)
            if found and found.values.get(RUNNING):
                act()
                return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def killed(runner: VllmRunner, forked: Forked, notes: Path, name: str) -> Failure:
    """What became of a load whose engine lost that process, and whether the next one works."""
    with (
        pytest.raises(EngineError) as caught,
        runner.launch(forked.config) as engine,
        once_serving(engine, lambda: role(notes, name).kill()),
    ):
        engine.measure(LONG)
    assert list(notes.iterdir()) == []
    assert children() == []
    return caught.value.failure


def serves(runner: VllmRunner, forked: Forked) -> bool:
    with runner.launch(forked.config) as engine:
        return engine.fresh and len(engine.measure(SHORT).completed) == 2


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("api server", "the engine ended without a word"),
        ("engine core", "MPClient: engine core exited unexpectedly; starting cleanup"),
    ],
)
def test_a_process_killed_under_load_is_told_and_the_next_launch_works(
    forked: Forked, notes: Path, name: str, cause: str
) -> None:
    with forked.runner() as runner:
        failure = killed(runner, forked, notes, name)
        assert failure == Failure(FailureKind.DIED, cause)
        assert serves(runner, forked)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("api server", "the engine ended without a word (signal 9)"),
        (
            "worker",
            "Worker proc VllmWorker-0 died unexpectedly (exit code: -9), shutting down executor.",
        ),
    ],
)
def test_killed_in_the_usual_layout_of_processes_none_outlives_it(
    forked: Forked, notes: Path, name: str, cause: str
) -> None:
    plain = VllmRunner(forked.launch)
    failure = killed(plain, forked, notes, name)
    assert failure == Failure(FailureKind.DIED, cause)
    assert serves(forked.runner(), forked)


def test_an_engine_lost_at_the_last_requests_is_no_measurement(
    forked: Forked, notes: Path
) -> None:
    few = Load(workload=Workload(name="few", requests=(Request(0.0, 32, 1500),) * 4))
    with (
        pytest.raises(EngineError) as caught,
        forked.runner().launch(forked.config) as engine,
        once_serving(engine, lambda: role(notes, "engine core").kill()),
    ):
        engine.measure(few)
    assert caught.value.failure.kind is FailureKind.DIED


def test_an_engine_that_died_between_two_trials_is_replaced(forked: Forked, notes: Path) -> None:
    with forked.runner() as runner:
        with runner.launch(forked.config):
            leader = session(notes)
        os.killpg(leader, signal.SIGKILL)
        while session_processes(leader):
            time.sleep(0.01)
        assert serves(runner, forked)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that hangs is found out in seconds."""
    monkeypatch.setattr(server, "ANSWER_S", 1.0)
    monkeypatch.setattr(server, "DYING_S", 1.0)
    monkeypatch.setattr(telemetry, "STUCK_S", 2.0)
    monkeypatch.setattr(telemetry, "ANSWER_S", 1.0)


@pytest.mark.usefixtures("impatient")
def test_an_engine_core_that_hangs_under_load_is_found_out_and_ended(
    forked: Forked, notes: Path
) -> None:
    with forked.runner() as runner:
        with (
            pytest.raises(EngineError) as caught,
            runner.launch(forked.config) as engine,
            once_serving(engine, lambda: role(notes, "engine core").suspend()),
        ):
            engine.measure(LONG)
        assert caught.value.failure == Failure(
            FailureKind.DIED, "the engine hangs: under load, its metrics stand still for 2 s"
        )
        assert list(notes.iterdir()) == []
        assert serves(runner, forked)


@pytest.mark.usefixtures("impatient")
def test_an_engine_that_hangs_when_patience_ends_is_no_measurement(
    forked: Forked, notes: Path
) -> None:
    at_once = replace(LONG, workload=LONG.workload.at_concurrency(40), patience_s=0.5)
    with (
        pytest.raises(EngineError) as caught,
        forked.runner().launch(forked.config) as engine,
        once_serving(engine, lambda: os.killpg(session(notes), signal.SIGSTOP)),
    ):
        engine.measure(at_once)
    assert caught.value.failure.kind is FailureKind.DIED
    assert caught.value.failure.detail.startswith("the server hangs: http://127.0.0.1:")


@pytest.mark.usefixtures("impatient")
def test_an_engine_that_hung_since_its_last_trial_is_found_out(
    forked: Forked, notes: Path
) -> None:
    with forked.runner() as runner:
        with runner.launch(forked.config):
            os.killpg(session(notes), signal.SIGSTOP)
        with pytest.raises(EngineError) as caught, runner.launch(forked.config) as engine:
            engine.measure(SHORT)
    assert caught.value.failure.kind is FailureKind.DIED
    assert caught.value.failure.detail.startswith("the server hangs: http://127.0.0.1:")


@pytest.mark.usefixtures("impatient")
def test_a_port_that_is_taken_meanwhile_is_the_hosts_trouble(
    forked: Forked, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        monkeypatch.setattr(server, "free_port", lambda: port)
        with pytest.raises(EngineError) as caught, forked.runner().launch(forked.config):
            pass
    assert caught.value.failure.kind is FailureKind.HOST
    assert "Address already in use" in caught.value.failure.detail


def refused(forked: Forked, **changed: object) -> EngineError:
    launch = replace(forked.launch, **changed)  # type: ignore[arg-type]
    with pytest.raises(EngineError) as caught, forked.runner(launch).launch(forked.config):
        pass
    return caught.value


def test_a_model_that_is_not_there_is_refused(forked: Forked, tmp_path: Path) -> None:
    nowhere = str(tmp_path / "nowhere")
    failure = refused(forked, model=nowhere).failure
    assert failure == Failure(FailureKind.REFUSED, f"there is no model in {nowhere}")


def test_a_config_json_that_is_broken_is_refused_in_words_that_name_it(
    forked: Forked, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(forked.launch.model, broken)
    (broken / "config.json").write_text('{"architectures": [')
    failure = refused(forked, model=str(broken)).failure
    assert failure.kind is FailureKind.REFUSED
    assert "config.json" in failure.detail


def test_a_flag_that_vllm_does_not_have_is_refused_with_its_name(forked: Forked) -> None:
    order = Order(
        arguments=(f"--model={forked.launch.model}", "--max-num-seqz=4"),
        env=environment(forked.launch.deployment, visible=None),
        inside=None,
    )
    start = forked.start(forked.logs / "engine-0.log")
    with pytest.raises(EngineError) as caught, serving(order, start, ready_timeout_s=60.0):
        pass
    assert caught.value.failure == Failure(
        FailureKind.REFUSED, "unrecognized arguments: --max-num-seqz=4"
    )


def test_a_kv_cache_too_small_for_one_request_does_not_fit(forked: Forked) -> None:
    config = {**forked.config, "kv_cache_memory_bytes": 1_000_000}
    with pytest.raises(EngineError) as caught, forked.runner().launch(config):
        pass
    assert caught.value.failure.kind is FailureKind.DOES_NOT_FIT
    assert caught.value.failure.detail.startswith("To serve at least one request")


def test_an_engine_that_is_not_ready_in_time_is_ended(forked: Forked) -> None:
    hurried = replace(forked.launch, ready_timeout_s=0.5)
    with pytest.raises(EngineError) as caught, VllmRunner(hurried).launch(forked.config):
        pass
    assert caught.value.failure.kind is FailureKind.NEVER_READY
    assert caught.value.failure.detail.startswith("not ready in time")
    assert caught.value.engine_s >= 0.5


def test_an_interrupt_during_a_launch_leaves_nothing(forked: Forked, notes: Path) -> None:
    def interrupt() -> None:
        while not list(notes.iterdir()):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt), forked.runner().launch(forked.config):
        thread.join(60)
    thread.join()


def test_a_full_disk_ends_the_logs_and_nothing_else(forked: Forked) -> None:
    forked.logs.mkdir()
    for name in ("engine-0.log", "steps-0.csv"):
        (forked.logs / name).symlink_to("/dev/full")
    runner = forked.runner()
    # Numbers of logs that are there already are not given again.
    runner._launches = 0
    many = Load(workload=Workload(name="many", requests=(Request(0.0, 64, 64),) * 20))
    with runner.launch(forked.config) as engine:
        assert len(engine.measure(SHORT).completed) == 2
        assert len(engine.measure(many).completed) == 20
        said = engine.running.server._session.lines
    assert any("steps-0.csv ends here: No space left on device." in line for line in said)
    assert (forked.logs / "engine-0.log").is_char_device()
