"""Engines as processes: started in a session of their own, listened to, ended to the last one.

The leader's exit says little: vLLM's engine core and workers outlive a killed server, keeping the
GPU's memory, and a server whose engine core was killed exits with 0.
"""

import os
import signal
import socket
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from runners.base import EngineError, FailureKind
from runners.output import Output, tail

LOOPBACK = "127.0.0.1"
POLL_S = 0.02
KILLED_WITHIN_S = 10.0
"""What SIGKILL has not ended by then sits in a driver's call and cannot be ended from here."""
UNKNOWN_STATUS = -1


def started_ticks(pid: int) -> int | None:
    """When a process started, in clock ticks since boot, which no change of the clock moves;
    ``None``: there is none, or it is a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    state, *fields = stat.rpartition(")")[2].split()
    return None if state in "ZX" else int(fields[18])


def session_processes(sid: int) -> list[psutil.Process]:
    """The live processes of a session, its leader among them; zombies are not alive."""
    return [process for pid in psutil.pids() if (process := _member(pid, sid))]


def move(sid: int, cores: frozenset[int]) -> None:
    """Every thread of a session to these cores; those that are bound within them stay there.

    What they start from now on stays there, too.
    """
    for process in session_processes(sid):
        with suppress(OSError):  # gone meanwhile
            for task in Path(f"/proc/{process.pid}/task").iterdir():
                _move_thread(int(task.name), cores)


def _move_thread(tid: int, cores: frozenset[int]) -> None:
    with suppress(OSError):
        if not cores >= os.sched_getaffinity(tid):
            os.sched_setaffinity(tid, cores)


def _member(pid: int, sid: int) -> psutil.Process | None:
    try:
        if os.getsid(pid) != sid:
            return None
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process
    except (OSError, psutil.NoSuchProcess):
        return None


def end_session(sid: int, started: int | None, *, grace_s: float) -> None:
    """TERM to the leader's group, KILL to what is left after ``grace_s``.

    Without a leader the rest is killed at once: nobody is left to tell it to stop. Where the
    leader is not the process that began at ``started``, its number went to a stranger, which is
    left alone.

    Raises:
        EngineError: something would not go.
    """
    leader_ticks = started_ticks(sid)
    if leader_ticks is not None:
        if leader_ticks != started:
            return
        _signal(session_processes(sid), sid, signal.SIGTERM)
        _wait_until_gone(sid, grace_s)
    deadline_s = time.monotonic() + KILLED_WITHIN_S
    # Again and again: one that was just forked is not in the first list.
    while members := session_processes(sid):
        if time.monotonic() > deadline_s:
            raise EngineError(FailureKind.HOST, _would_not_go(members))
        _signal(members, sid, signal.SIGKILL)
        time.sleep(POLL_S)


def _wait_until_gone(sid: int, grace_s: float) -> None:
    """Until nobody is left; a leader that has gone leaves the others a tenth of the time."""
    deadline_s = time.monotonic() + grace_s
    led = True
    while (members := session_processes(sid)) and time.monotonic() < deadline_s:
        if led and all(process.pid != sid for process in members):
            led = False
            deadline_s = min(deadline_s, time.monotonic() + grace_s / 10)
        time.sleep(POLL_S)


def _signal(members: Sequence[psutil.Process], sid: int, number: signal.Signals) -> None:
    """To the group in one call, then to those who left it but not the session."""
    for process in members:
        try:
            if os.getpgid(process.pid) != sid:
                process.send_signal(number)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    if members:
        try:
            os.killpg(sid, number)
        except ProcessLookupError:
            return


def _would_not_go(members: Sequence[psutil.Process]) -> str:
    pids = ", ".join(str(process.pid) for process in members)
    return (
        f"Every process of an engine must end with it, but {pids} outlived SIGKILL by "
        f"{KILLED_WITHIN_S:g} s: a driver may hang; see `dmesg`."
    )


class Session(ABC):
    """A running engine, known by its session's leader.

    Args:
        pid: the leader's, which is also the session's and the process group's number.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.started = started_ticks(pid)
        self._ended = False

    @property
    @abstractmethod
    def lines(self) -> list[str]:
        """The last lines that it wrote, oldest first. Untrusted."""

    @abstractmethod
    def poll(self) -> int | None:
        """The leader's exit status; ``None`` while it runs. Not a sign of success."""

    @property
    def alive(self) -> bool:
        return self.poll() is None

    def end(self, grace_s: float = 10.0) -> None:
        """End every process of the session and wait until none is left; twice does no harm.

        Raises:
            EngineError: something would not go.
        """
        if not self._ended:
            end_session(self.pid, self.started, grace_s=grace_s)
            self._ended = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end()


class Process(Session):
    """An engine that we started ourselves; made by ``start``."""

    def __init__(self, popen: "subprocess.Popen[bytes]", output: Output) -> None:
        super().__init__(popen.pid)
        self._popen = popen
        self.output = output

    @property
    def lines(self) -> list[str]:
        return self.output.lines

    def poll(self) -> int | None:
        return self._popen.poll()

    def end(self, grace_s: float = 10.0) -> None:
        super().end(grace_s)
        self._popen.wait()
        if self._popen.stdin:
            self._popen.stdin.close()
        self.output.join()


class Adopted(Session):
    """An engine that somebody else forked for us, as leader of a new session.

    Args:
        log: the file that it writes to, of which ``lines`` are the end.
    """

    def __init__(self, pid: int, log: Path | None = None) -> None:
        super().__init__(pid)
        self._log = log

    @property
    def lines(self) -> list[str]:
        return tail(self._log) if self._log else []

    def poll(self) -> int | None:
        """``UNKNOWN_STATUS`` once it has gone: only its parent learns more."""
        running = self.started is not None and started_ticks(self.pid) == self.started
        return None if running else UNKNOWN_STATUS


def start(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    log: Path | None = None,
    cores: frozenset[int] = frozenset(),
    hold_stdin: bool = False,
) -> Process:
    """Start an engine in a session of its own, so that no Ctrl-C reaches it but ours.

    Args:
        argv: the program and its arguments; no shell sees them.
        env: its whole environment.
        log: where its output is kept, as long as the disk has room.
        cores: the only ones that it and all its children may run on; empty: any.
        hold_stdin: give it a standard input that ends when we do, for one that waits for that.

    Raises:
        EngineError: the program cannot be started.
    """
    try:
        with _on(cores):
            popen = subprocess.Popen(  # noqa: S603 (an argument list, no shell)
                list(argv),
                env=dict(env),
                stdin=subprocess.PIPE if hold_stdin else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
    except OSError as error:
        raise EngineError(
            FailureKind.HOST, f"Cannot start {argv[0]}: {error.strerror}."
        ) from error
    assert popen.stdout is not None
    return Process(popen, Output(popen.stdout, log))


def free_port() -> int:
    """A port of the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def interrupts_held_back() -> Iterator[None]:
    """Ctrl-C and SIGTERM come at the end of this: between its start and its ``with``, an engine
    has nobody to end it."""
    came: list[int] = []
    before = {}
    # Only the main thread is ever interrupted, and only it may say how.
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                before[number] = signal.signal(number, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for arrived in came[:1]:
            signal.raise_signal(arrived)


@contextmanager
def _on(cores: frozenset[int]) -> Iterator[None]:
    """This thread, and so what it starts meanwhile, on these cores: a child that was moved only
    after its start may have threads by then that stay where they were."""
    before = os.sched_getaffinity(0)
    if cores:
        os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        if cores:
            os.sched_setaffinity(0, before)
