"""Imports vLLM once and forks a server per launch: ``python paretune_fork.py SOCKET``.

For the CPU build only: most of a launch there is the same modules imported three times over.
One JSON line per connection on the Unix socket:

    {"argv": [flags after `vllm serve`], "env": {name: value or null}, "log": path} -> {"pid": n}
    {"wait": pid} -> {"exited": pid, "status": n, negative for a signal, or null while it runs}

Answers ``{"error": why}`` to anything else. Prints ``{"ready": ...}`` once it listens, and ends,
with all it has forked, when its standard input ends or its parent is gone.
"""

import contextlib
import ctypes
import gc
import importlib
import json
import multiprocessing
import os
import select
import signal
import socket
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

TICK_S = 0.5
PATIENCE_S = 5.0
MAX_LINE_BYTES = 1 << 20
PR_SET_PDEATHSIG = 1
PRELOADED = (
    "transformers",
    "uvloop",
    "vllm.entrypoints.cli.serve",
    "vllm.entrypoints.launchers.api_server.entry",
    "vllm.entrypoints.launchers.api_server.routers",
    "vllm.entrypoints.launchers.app",
    "vllm.entrypoints.serve.utils.api_utils",
    "vllm.model_executor.model_loader",
    "vllm.model_executor.models.llama",
    "vllm.tokenizers",
    "vllm.v1.attention.backends.cpu_attn",
    "vllm.v1.core.sched.async_scheduler",
    "vllm.v1.engine.async_llm",
    "vllm.v1.engine.core",
    "vllm.v1.engine.core_client",
    "vllm.v1.engine.utils",
    "vllm.v1.executor.multiproc_executor",
    "vllm.v1.executor.uniproc_executor",
    "vllm.v1.structured_output",
    "vllm.v1.worker.cpu_model_runner",
    "vllm.v1.worker.cpu_worker",
)


class Launcher:
    """A Unix socket, and the servers forked for those who asked on it."""

    def __init__(self, path: Path) -> None:
        self._parent = os.getppid()
        self._statuses: dict[int, int | None] = {}
        self._socket = socket.socket(socket.AF_UNIX)
        path.unlink(missing_ok=True)
        umask = os.umask(0o177)
        try:
            self._socket.bind(str(path))
        finally:
            os.umask(umask)
        self._socket.listen(8)

    def serve(self) -> None:
        """Answer until standard input ends or the parent is gone."""
        while os.getppid() == self._parent:
            ready, _, _ = select.select([self._socket, sys.stdin], [], [], TICK_S)
            self._reap()
            if sys.stdin in ready and not os.read(sys.stdin.fileno(), 4096):
                return
            if self._socket in ready:
                self._answer_one()

    def end(self) -> None:
        """Leave nothing that was forked here, nor what that has forked."""
        self._reap()
        for pid in self._running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            # One forked just now may not lead a group yet.
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

    @property
    def _running(self) -> list[int]:
        return [pid for pid, status in self._statuses.items() if status is None]

    def _reap(self) -> None:
        for pid in self._running:
            exited, status = os.waitpid(pid, os.WNOHANG)
            if exited:
                self._statuses[pid] = os.waitstatus_to_exitcode(status)

    def _answer_one(self) -> None:
        asking, _ = self._socket.accept()
        # Whoever connects and stays silent must not keep the others waiting for ever.
        asking.settimeout(PATIENCE_S)
        with asking, contextlib.suppress(OSError):
            with asking.makefile("rb") as lines:
                answer = self._answer(lines.readline(MAX_LINE_BYTES), asking)
            asking.sendall((json.dumps(answer) + "\n").encode())

    def _answer(self, line: bytes, asking: socket.socket) -> dict[str, Any]:
        match _json(line):
            case {"wait": int(pid)} if pid in self._statuses:
                return {"exited": pid, "status": self._statuses[pid]}
            case {"argv": list(), "env": dict(), "log": str()} as asked:
                return self._launch(asked, asking)
        return {
            "error": "A request must have argv, env and log, or the pid of one of ours to wait "
            "for, in one line of JSON."
        }

    def _launch(self, asked: dict[str, Any], asking: socket.socket) -> dict[str, Any]:
        if (threads := thread_count()) > 1:
            return {"error": f"A fork must come from the only thread, but there are {threads}."}
        try:
            log = os.open(asked["log"], os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        except OSError as error:
            return {"error": f"The log {asked['log']} must be writable, but {error.strerror}."}
        pid = os.fork()
        if not pid:
            self._socket.close()
            asking.close()
            _become_server(asked, log)
        os.close(log)
        self._statuses[pid] = None
        return {"pid": pid}


def _json(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def thread_count() -> int:
    return len(os.listdir("/proc/self/task"))  # noqa: PTH208


def _become_server(asked: dict[str, Any], log: int) -> None:
    """Run `vllm serve` in this fresh fork; does not return."""
    status = 1
    try:
        os.setsid()
        _die_with_parent()
        # vLLM's engine core would outlive a killed API server.
        os.register_at_fork(after_in_child=_die_with_parent)
        _rewire(log)
        _take_environment(asked["env"])
        _serve(asked["argv"])
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        # The launcher's own clean-up is not this process's.
        os._exit(status)


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _rewire(log: int) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.close(nothing)
    os.close(log)


def _take_environment(variables: dict[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    # An interpreter reads these two at its start only.
    tempfile.tempdir = None
    folders = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:0] = [folder for folder in folders if folder and folder not in sys.path]


def _serve(argv: list[str]) -> None:
    """What `vllm serve` does, without importing vLLM's other commands."""
    from vllm.entrypoints.cli.serve import ServeSubcommand
    from vllm.entrypoints.serve.utils.api_utils import cli_env_setup
    from vllm.logger import configure_logging_from_args
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    sys.argv = ["vllm", "serve", *argv]
    cli_env_setup()
    parser = FlexibleArgumentParser(prog="vllm")
    command = ServeSubcommand()
    command.subparser_init(parser.add_subparsers(dest="subparser"))
    args = parser.parse_args()
    configure_logging_from_args(args)
    command.validate(args)
    command.cmd(args)


def preload() -> None:
    """Import what a server needs, and have its processes forked rather than started anew.

    Raises:
        SystemExit: this is no CPU build, or a thread runs that no fork would carry over.
    """
    # An OpenMP pool does not survive a fork; the engine core brings its own worker.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    from vllm.platforms import current_platform

    if not current_platform.is_cpu():
        raise SystemExit(
            "vLLM must be a CPU build to be forked, but this one is for "
            f"{current_platform.device_name or 'no device'}: start `vllm serve` itself."
        )
    for name in PRELOADED:
        importlib.import_module(name)
    forking = multiprocessing.get_context("fork")
    for name, module in list(sys.modules.items()):
        if name.startswith("vllm.") and hasattr(module, "get_mp_context"):
            module.get_mp_context = lambda: forking
    if (threads := thread_count()) > 1:
        raise SystemExit(f"A fork must come from the only thread, but there are {threads}.")
    gc.collect()
    # Collections would otherwise copy every page the servers share with this process.
    gc.freeze()


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit("The socket's path must be the only argument.")
    # Ctrl-C reaches the whole terminal; the end of standard input is what counts.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    started_s = time.monotonic()
    preload()
    launcher = Launcher(Path(sys.argv[1]))
    print(json.dumps({"ready": True, "import_s": round(time.monotonic() - started_s, 2)}))
    sys.stdout.flush()
    try:
        launcher.serve()
    finally:
        launcher.end()


if __name__ == "__main__":
    main()
