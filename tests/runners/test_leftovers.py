import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runners.leftovers import end_leftovers, folder, noted
from runners.process import session_processes, start

ENGINE = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]
TUNER = """
import os, sys, time
from runners.leftovers import noted
from runners.process import start
engine = start(sys.argv[1:], env=dict(os.environ))
with noted(engine.pid, command="vllm serve"):
    while not engine.lines:
        time.sleep(0.01)
    print(engine.pid, flush=True)
    time.sleep(600)
"""
FORKING = "import os, time\nif not os.fork(): print('up', flush=True)\ntime.sleep(600)"
Environ = dict[str, str]


@pytest.fixture
def environ(tmp_path: Path) -> Environ:
    return {"XDG_RUNTIME_DIR": str(tmp_path)}


@pytest.fixture
def tuner(environ: Environ) -> Iterator["subprocess.Popen[str]"]:
    """Another tuner, with an engine whose session is the first line that it prints."""
    with subprocess.Popen(
        [sys.executable, "-c", TUNER, *ENGINE],
        env={**os.environ, **environ},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.kill()


def engine_of(tuner: "subprocess.Popen[str]") -> int:
    assert tuner.stdout is not None
    return int(tuner.stdout.readline())


def until(true: Callable[[], bool]) -> None:
    while not true():
        time.sleep(0.01)


def notes(environ: Environ) -> list[Path]:
    return list(folder(environ).iterdir())


def test_an_engine_is_noted_while_it_runs_and_not_after(environ: Environ) -> None:
    with start(ENGINE, env={}) as engine:
        with noted(engine.pid, command="vllm serve", environ=environ):
            (note,) = notes(environ)
            engine.end()
        assert note.name == f"{engine.pid}-{engine.started}.json"
        assert notes(environ) == []


def test_a_note_stays_while_anything_of_the_engine_does(environ: Environ) -> None:
    with start(ENGINE, env={}) as engine:
        with noted(engine.pid, command="vllm serve", environ=environ):
            pass
        assert len(notes(environ)) == 1


def test_the_engine_of_a_killed_tuner_is_ended_at_the_next_start(
    tuner: "subprocess.Popen[str]", environ: Environ
) -> None:
    engine = engine_of(tuner)
    tuner.kill()
    tuner.wait()
    assert len(session_processes(engine)) == 1
    assert end_leftovers(environ) == [
        f"Ended `vllm serve` (process {engine}), left by a tuner that was killed "
        f"(process {tuner.pid})."
    ]
    assert (session_processes(engine), notes(environ)) == ([], [])
    assert end_leftovers(environ) == []


def test_the_engine_of_a_running_tuner_is_left_alone(
    tuner: "subprocess.Popen[str]", environ: Environ
) -> None:
    engine = engine_of(tuner)
    assert end_leftovers(environ) == []
    assert len(session_processes(engine)) == len(notes(environ)) == 1
    tuner.kill()
    tuner.wait()
    assert len(end_leftovers(environ)) == 1


def rewritten(environ: Environ, **changes: object) -> None:
    (note,) = notes(environ)
    note.write_text(json.dumps({**json.loads(note.read_text()), **changes}))


def test_workers_whose_leader_is_gone_are_ended_too(environ: Environ) -> None:
    with start([sys.executable, "-c", FORKING], env={}) as engine:
        with noted(engine.pid, command="vllm serve", environ=environ):
            until(lambda: engine.lines == ["up"])
            os.kill(engine.pid, 9)
            until(lambda: not engine.alive)
        rewritten(environ, owner_ticks=0)
        assert len(session_processes(engine.pid)) == 1
        assert len(end_leftovers(environ)) == 1
        assert session_processes(engine.pid) == []


@pytest.mark.parametrize(
    ("changes", "left"),
    [
        ({"sid_ticks": 1, "owner_ticks": 0}, 0),
        ({"boot": "before", "owner_ticks": 0}, 0),
        ({"pid_namespace": "of another container", "owner_ticks": 0}, 1),
    ],
)
def test_a_stranger_with_the_same_number_is_left_alone(
    environ: Environ, changes: dict[str, object], left: int
) -> None:
    with (
        start(ENGINE, env={}) as engine,
        noted(engine.pid, command="vllm serve", environ=environ),
    ):
        rewritten(environ, **changes)
        assert end_leftovers(environ) == []
        assert (engine.alive, len(notes(environ))) == (True, left)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"sid": "1"}'])
def test_damaged_notes_are_removed(environ: Environ, text: str) -> None:
    (folder(environ) / "1-1.json").write_text(text)
    assert end_leftovers(environ) == []
    assert notes(environ) == []


def test_an_engine_that_died_at_once_needs_no_note(environ: Environ) -> None:
    with start([sys.executable, "-c", ""], env={}) as engine:
        until(lambda: not engine.alive)
        with noted(engine.pid, command="vllm serve", environ=environ):
            assert notes(environ) == []


def test_notes_are_private(environ: Environ, tmp_path: Path) -> None:
    (tmp_path / "paretune").mkdir(mode=0o755)
    assert folder(environ).stat().st_mode & 0o777 == 0o700


def test_without_a_runtime_folder_notes_are_kept_among_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert folder({}) == tmp_path / f"paretune-{os.getuid()}"
    assert folder({"XDG_RUNTIME_DIR": "/no/such"}) == tmp_path / f"paretune-{os.getuid()}"


@pytest.mark.parametrize("target", [".", "nowhere"])
def test_a_link_in_the_folders_place_is_refused(
    environ: Environ, tmp_path: Path, target: str
) -> None:
    (tmp_path / "paretune").symlink_to(tmp_path / target)
    with pytest.raises(PermissionError, match="must be a folder of your own"):
        end_leftovers(environ)


def test_a_folder_of_somebody_else_is_refused(
    environ: Environ, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder(environ)
    monkeypatch.setattr("os.getuid", lambda: 12345)
    with pytest.raises(PermissionError, match="somebody else made it"):
        end_leftovers(environ)
