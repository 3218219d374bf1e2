import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from runners import EngineError, Failure, FailureKind
from runners.process import (
    UNKNOWN_STATUS,
    Adopted,
    Process,
    end_session,
    move,
    session_processes,
    start,
    started_ticks,
)

FORKING = """
import os, signal, sys, time
for own_group in (False, True):
    if os.fork() == 0:
        if own_group:
            os.setpgid(0, 0)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("child", flush=True)
        time.sleep(600)
print("leader", flush=True)
time.sleep(600)
"""
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
time.sleep(600)
"""


def started(
    program: str, log: Path | None = None, *, cores: frozenset[int] = frozenset()
) -> Process:
    return start([sys.executable, "-c", program], env=dict(os.environ), log=log, cores=cores)


def until(true: Callable[[], bool]) -> None:
    while not true():
        time.sleep(0.01)


def ended(process: Process) -> Process:
    until(lambda: not process.alive)
    process.end()
    return process


def test_output_and_errors_are_kept_in_memory_and_in_the_log(tmp_path: Path) -> None:
    log = tmp_path / "engine.log"
    process = ended(started("import sys; print('a', flush=True); sys.exit('b')", log))
    assert (process.poll(), process.lines) == (1, ["a", "b"])
    assert log.read_text() == "a\nb\n"
    assert log.stat().st_mode & 0o777 == 0o600


def test_a_full_disk_ends_the_log_and_nothing_else() -> None:
    process = ended(started("print('x' * 100_000); print('y')", Path("/dev/full")))
    assert process.poll() == 0
    assert process.lines[-1] == "y"
    assert process.output.trouble == "The log ends early: No space left on device."


def test_a_log_that_cannot_be_opened_is_told_and_the_engine_runs(tmp_path: Path) -> None:
    log = tmp_path / "missing" / "engine.log"
    process = ended(started("print('x')", log))
    assert process.lines == ["x"]
    assert process.output.trouble == f"No log was kept: No such file or directory: {log}"


def test_only_the_last_lines_are_kept_and_none_of_them_whole_if_it_is_endless() -> None:
    program = "for n in range(3000): print(n)\nprint('x' * 10**6, end='')"
    lines = ended(started(program)).lines
    assert (len(lines), lines[0], len(lines[-1])) == (2001, "1000", 4000)


def test_of_a_progress_bar_the_last_state_is_kept() -> None:
    assert ended(started("print('1 %\\r2 %\\r3 %\\r')")).lines == ["3 %"]


def test_input_is_empty_and_the_environment_is_what_was_given() -> None:
    program = "import os, sys; print(repr(sys.stdin.read()), 'HOME' in os.environ)"
    process = ended(start([sys.executable, "-c", program], env={"LC_ALL": "C.UTF-8"}))
    assert process.lines == ["'' False"]


def test_every_child_runs_on_the_cores_given_and_we_on_all() -> None:
    before = os.sched_getaffinity(0)
    core = min(before)
    program = (
        "import os, subprocess, sys\n"
        "print(os.sched_getaffinity(0))\n"
        "sys.stdout.flush()\n"
        "subprocess.run([sys.executable, '-c', 'import os; print(os.sched_getaffinity(0))'])"
    )
    process = ended(started(program, cores=frozenset({core})))
    assert process.lines == [f"{{{core}}}"] * 2
    assert os.sched_getaffinity(0) == before


def test_ending_leaves_no_child_even_if_it_ignores_the_request_and_left_the_group() -> None:
    process = started(FORKING)
    until(lambda: len(process.lines) == 3)
    assert len(session_processes(process.pid)) == 3
    process.end(grace_s=0.1)
    process.end()
    assert session_processes(process.pid) == []
    assert process.poll() == -15


def test_children_of_a_leader_that_was_killed_are_ended_at_once() -> None:
    process = started(FORKING)
    until(lambda: len(process.lines) == 3)
    os.kill(process.pid, 9)
    until(lambda: not process.alive)
    assert len(session_processes(process.pid)) == 2
    process.end(grace_s=600)
    assert session_processes(process.pid) == []


def test_who_ignores_the_request_to_end_is_killed() -> None:
    with started(STUBBORN) as process:
        until(lambda: process.lines == ["up"])
        process.end(grace_s=0.1)
    assert process.poll() == -9


def test_an_engine_is_ended_when_its_context_is_left_by_an_error() -> None:
    with pytest.raises(ValueError, match="ours"), started(STUBBORN) as process:
        raise ValueError("ours")
    assert not process.alive


def test_a_stranger_with_the_leaders_old_number_is_left_alone() -> None:
    with started(STUBBORN) as process:
        ticks = started_ticks(process.pid)
        assert ticks is not None
        end_session(process.pid, ticks - 1, grace_s=0.0)
        assert process.alive


def test_an_engine_forked_by_somebody_else_is_ended_alike(tmp_path: Path) -> None:
    log = tmp_path / "engine.log"
    log.write_text("a\nb\n")
    process = started(FORKING)
    until(lambda: len(process.lines) == 3)
    adopted = Adopted(process.pid, log)
    assert (adopted.poll(), adopted.lines) == (None, ["a", "b"])
    adopted.end(grace_s=0.1)
    assert session_processes(process.pid) == []
    assert (adopted.alive, adopted.poll()) == (False, UNKNOWN_STATUS)
    process.end()


def test_what_was_adopted_dead_is_dead_and_has_no_lines() -> None:
    process = ended(started("pass"))
    adopted = Adopted(process.pid)
    adopted.end()
    assert (adopted.poll(), adopted.lines) == (UNKNOWN_STATUS, [])


def test_a_program_that_is_not_there_is_the_hosts_trouble() -> None:
    with pytest.raises(EngineError) as caught:
        start(["/no/such/vllm"], env={})
    said = "Cannot start /no/such/vllm: No such file or directory."
    assert caught.value.failure == Failure(FailureKind.HOST, said)


def test_a_process_that_outlives_its_killing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runners.process.KILLED_WITHIN_S", 0.0)
    monkeypatch.setattr("runners.process.started_ticks", lambda pid: None)
    myself = psutil.Process()
    monkeypatch.setattr("runners.process.session_processes", lambda sid: [myself])
    with pytest.raises(EngineError, match=f"but {myself.pid} outlived SIGKILL by 0 s"):
        end_session(1, None, grace_s=0.0)


def test_every_thread_of_a_session_is_moved_and_what_it_starts_later_is_there() -> None:
    core = min(os.sched_getaffinity(0))
    program = (
        "import os, sys, threading, time\n"
        "told = threading.Event()\n"
        "def waits():\n"
        "    told.wait()\n"
        "    print('thread', os.sched_getaffinity(0), flush=True)\n"
        "thread = threading.Thread(target=waits)\n"
        "thread.start()\n"
        "print('started', flush=True)\n"
        f"while os.sched_getaffinity(0) != {{{core}}}: time.sleep(0.01)\n"
        "time.sleep(0.2)\n"
        "told.set(); thread.join()\n"
    )
    with started(program) as process:
        while "started" not in process.lines:
            time.sleep(0.01)
        move(process.pid, frozenset({core}))
        while process.alive:
            time.sleep(0.01)
        process.end()
        assert process.lines[-1] == f"thread {{{core}}}"
