"""``tune ui``: MLflow's pages on this machine's loopback, opened at a study's comparison."""

import os
import signal
import socket
import sys
import time
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from results.mlflow import MlflowError, public
from results.mlflow_connection import sqlite_path
from results.mlflow_page import ALL, find
from runners.base import EngineError
from runners.plain_http import ask
from runners.process import Process, interrupts_held_back, start
from tuner import storage
from tuner.errors import BadInput, EngineTrouble
from tuner.folder import Folder
from tuner.mlflow_study import IDENTITY, STUDIES, tracking_uri
from tuner.trouble import explained

HOST = "127.0.0.1"
PORT = 5000
READY_WITHIN_S = 120.0
POLL_S = 0.2
ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The command's options.

    Args:
        folder: a study's; ``None``: all there is.
        port: ``None``: 5000, or any where that is taken.
        browser: whether to open one, where there is a screen.
    """

    folder: Path | None = None
    mlflow: str | None = None
    storage_url: str | None = None
    port: int | None = None
    browser: bool = True


def ui(asked: Asked, say: Callable[[str], None]) -> None:
    """Until Ctrl-C, where there is no server yet that has the pages.

    Raises:
        BadInput: there is nothing to show.
        EngineTrouble: MLflow's server does not start.
    """
    uri, page = _of_study(asked, asked.folder) if asked.folder else _of_all(asked)
    if uri.startswith(("http://", "https://")):
        _open(f"{public(uri).rstrip('/')}{page}", asked, say)
        return
    if "://" not in uri:
        raise BadInput(f"MLflow at {public(uri)} has no pages that can be served from here.")
    port = _port(asked.port)
    with suppress(KeyboardInterrupt), interruptible(), _served(uri, port) as server:
        _open(f"http://{HOST}:{port}{page}", asked, say)
        say("Ctrl-C ends it.")
        while server.alive:
            time.sleep(POLL_S)
        raise EngineTrouble(f"MLflow's server ended: {_last_words(server)}")


def _of_study(asked: Asked, path: Path) -> tuple[str, str]:
    """Where the study is mirrored to, and its page there."""
    folder = Folder(path)
    url = storage.address(folder, asked.storage_url)
    with explained(folder, url):
        _, _, studies = storage.load(folder, url)
        uri = tracking_uri(asked.mlflow, folder, studies[0])
        identity = studies[0].user_attrs[IDENTITY]
    if uri is None:
        raise BadInput(
            f"This study was told --mlflow off; `tune sync {path} --mlflow URI` writes it to one."
        )
    page = _found(uri, identity)
    if page is None:
        raise BadInput(
            f"MLflow at {public(uri)} has nothing of this study; `tune sync {path}` writes it."
        )
    return uri, page


def _found(uri: str, identity: str) -> str | None:
    database = sqlite_path(uri)
    if database is not None and not database.exists():
        return None
    try:
        return find(uri, identity)
    except MlflowError as error:
        raise BadInput(str(error)) from None


def _of_all(asked: Asked) -> tuple[str, str]:
    uri = asked.mlflow or os.environ.get("MLFLOW_TRACKING_URI")
    database = Path(STUDIES).resolve() / "mlflow.db"
    if uri is None and not database.exists():
        raise BadInput(f"There is no {STUDIES}/mlflow.db here; name a study's folder.")
    return uri or f"sqlite:///{database}", ALL


def _port(asked: int | None) -> int:
    """A port that nobody listens on."""
    for port in (PORT, 0) if asked is None else (asked,):
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, port))
            return int(probe.getsockname()[1])
    raise BadInput(f"Port {asked} is taken; give another --port, or none.")


@contextmanager
def interruptible() -> Iterator[None]:
    """A closed terminal and SIGTERM end it like Ctrl-C; what is ignored stays ignored."""
    handled = [number for number in ENDS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, signal.default_int_handler) for number in handled}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _served(uri: str, port: int) -> Iterator[Process]:
    """MLflow's server over a database, ready to answer."""
    argv = [sys.executable, "-m", "tuner.mlflow_server", "--host", HOST, "--port", str(port)]
    environment = {
        **os.environ,
        # Not among the arguments, where everybody on the machine could read a password.
        "MLFLOW_BACKEND_STORE_URI": uri,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        # A folder that happens to be called like a package is none.
        "PYTHONSAFEPATH": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    with ExitStack() as stack:
        with interrupts_held_back():
            try:
                started = start([*argv, "--workers", "1"], env=environment, hold_stdin=True)
            except EngineError as error:
                raise EngineTrouble(str(error)) from None
            server = stack.enter_context(started)
        _wait_until_ready(server, port)
        yield server


def _wait_until_ready(server: Process, port: int) -> None:
    deadline_s = time.monotonic() + READY_WITHIN_S
    while server.alive and time.monotonic() < deadline_s:
        with suppress(ConnectionError):
            if ask(f"http://{HOST}:{port}/health", 1.0).status == 200:
                return
        time.sleep(POLL_S)
    raise EngineTrouble(f"MLflow's server did not start: {_last_words(server)}")


def _last_words(server: Process) -> str:
    said = [line.strip() for line in server.lines if line.strip()]
    return public(said[-1]) if said else "it said nothing"


def _open(link: str, asked: Asked, say: Callable[[str], None]) -> None:
    say(f"MLflow: {link}")
    screen = any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
    if asked.browser and screen:
        webbrowser.open(link)
