"""Launches forked off one process that has imported vLLM: seconds, on CPU builds only.

What runs is the same server; `paretune_fork.py` says what differs. A plain launch is the default.
"""

import json
import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from runners.base import EngineError, FailureKind
from runners.output import Output
from runners.process import Adopted, Process, Session, start
from runners.vllm.command import python_of
from runners.vllm.server import Start
from runners.vllm.start import INSIDE

READY_WITHIN_S = 120.0
ANSWER_S = 30.0
POLL_S = 0.1


@contextmanager
def forking(
    command: Sequence[str], env: Mapping[str, str], cores: frozenset[int]
) -> Iterator[Callable[[Path], Start]]:
    """From an engine's log to what forks it, while the context lasts.

    Args:
        command: of a CPU build, as ``resolve`` gives it.
        cores: for every engine.

    Raises:
        EngineError: its Python is not known, or it cannot be forked.
    """
    python = python_of(command)
    if python is None:
        raise EngineError(FailureKind.HOST, f"the Python of {command[0]} is not known")
    with tempfile.TemporaryDirectory(prefix="paretune-fork-") as folder:
        path = Path(folder) / "launcher"
        argv = [str(python), str(INSIDE / "paretune_fork.py"), str(path)]
        with start(argv, env=env, cores=cores, hold_stdin=True) as process:
            _wait_until_ready(process, path)
            yield lambda log: _Fork(path, log)


def _wait_until_ready(process: Process, path: Path) -> None:
    deadline_s = time.monotonic() + READY_WITHIN_S
    while not (path.exists() and any('"ready"' in line for line in process.lines)):
        if not process.alive or time.monotonic() > deadline_s:
            said = [*process.lines, "it said nothing"][-2 if process.lines else -1]
            raise EngineError(FailureKind.HOST, f"vLLM cannot be imported to be forked: {said}")
        time.sleep(POLL_S)


class _Fork:
    """Asks the launcher for one engine."""

    def __init__(self, path: Path, log: Path) -> None:
        self._path = path
        self._log = log

    def __call__(self, arguments: Sequence[str], env: Mapping[str, str]) -> Session:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with _pipe(self._path.with_name("output")) as (pipe, reader):
            asked = {"argv": list(arguments), "env": dict(env), "log": str(pipe)}
            answer = self._ask(asked)
            if "pid" not in answer:
                raise EngineError(FailureKind.HOST, str(answer.get("error", answer))[:300])
            stream = os.fdopen(os.dup(reader), "rb")
        return _Forked(int(answer["pid"]), Output(stream, self._log))

    def _ask(self, asked: object) -> dict[str, Any]:
        try:
            with socket.socket(socket.AF_UNIX) as asking:
                asking.settimeout(ANSWER_S)
                asking.connect(str(self._path))
                asking.sendall(json.dumps(asked).encode() + b"\n")
                answer = json.loads(asking.makefile().readline())
        except (OSError, ValueError) as error:
            raise EngineError(
                FailureKind.HOST, f"the launcher of vLLM does not answer: {error}"
            ) from error
        return answer if isinstance(answer, dict) else {}


class _Forked(Adopted):
    """A fork whose output we read, so that a full disk ends its log and not the engine."""

    def __init__(self, pid: int, output: Output) -> None:
        super().__init__(pid)
        self._output = output

    @property
    def lines(self) -> list[str]:
        return self._output.lines

    def end(self, grace_s: float = 10.0) -> None:
        super().end(grace_s)
        self._output.join()


@contextmanager
def _pipe(path: Path) -> Iterator[tuple[Path, int]]:
    """A named pipe for another process to write to, and the end that is read."""
    os.mkfifo(path, 0o600)
    try:
        # Else opening it would wait for the writer.
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        os.set_blocking(reader, True)
        try:
            yield path, reader
        finally:
            os.close(reader)
    finally:
        path.unlink()
