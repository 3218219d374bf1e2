"""How MLflow is reached: silently, giving up soon, and with no secret in what is said of it.

Trap: MLflow's own messages quote its address, password and all.
"""

import logging
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

if TYPE_CHECKING:
    from mlflow import MlflowClient

_ENVIRONMENT = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # Read once, when mlflow is imported; holds for alembic's migrations too.
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",
    # MLflow's own 120 s and 7 retries cost a quarter of an hour per call to a silent server.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
}


class MlflowError(Exception):
    """MLflow could not be reached or written; says why on one line, without secrets."""


def connect(tracking_uri: str) -> "MlflowClient":
    """A client of a server or database; a sqlite file is made where there is none."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    # It announces every retry on stderr.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    from mlflow import MlflowClient

    path = sqlite_path(tracking_uri)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _make_database(path)
        # MLflow itself would try a file it cannot open ten times, for 100 s.
        with closing(sqlite3.connect(path)) as database:
            database.execute("PRAGMA schema_version")
    return MlflowClient(tracking_uri)


def _make_database(path: Path) -> None:
    """Make MLflow's tables under another name first.

    A file whose making was cut short, which takes seconds, can never be opened by MLflow again.
    """
    from mlflow import MlflowClient

    unfinished = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        MlflowClient(f"sqlite:///{unfinished}").search_experiments(max_results=1)
        try:
            # Unlike a rename, leaves alone what another process has made meanwhile.
            path.hardlink_to(unfinished)
        except OSError:
            if not path.exists():  # a file system without hard links
                unfinished.rename(path)
    finally:
        unfinished.unlink(missing_ok=True)


def sqlite_path(tracking_uri: str) -> Path | None:
    """The file of a sqlite address; ``None`` for any other."""
    prefix = "sqlite:///"
    if not tracking_uri.startswith(prefix):
        return None
    return Path(tracking_uri.removeprefix(prefix).partition("?")[0]).resolve()


def public(text: str) -> str:
    """An address, or a message that quotes addresses, without users, passwords and queries."""
    # Passwords with an unquoted ``/`` or ``@`` exist: better too much taken than too little.
    text = re.sub(r"://(?:[^:/\s]*:\S*|[^/\s]*)@", "://", text)
    return re.sub(r"\?[^\s'\"]*=[^\s'\"]*", "", text)


@contextmanager
def secrets_kept(tracking_uri: str) -> Iterator[None]:
    """Turns whatever MLflow's client raises into a ``MlflowError``."""
    try:
        yield
    except _errors() as error:
        text = str(error) or type(error).__name__
        brief = re.search(r"\[Errno -?\d+\] [^'\")]*|[Rr]ead timed out|timed out", text)
        reason = public(brief[0] if brief else text.splitlines()[0])[:300]
        # The cause would print its own message, password and all.
        raise MlflowError(f"MLflow at {public(tracking_uri)} failed: {reason}") from None


def _errors() -> tuple[type[Exception], ...]:
    """What MLflow's client raises; the errors of ``requests`` are ``OSError``s.

    ``ImportError``: the driver of a database or an object store is not installed.
    """
    from alembic.util.exc import CommandError
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    return MlflowException, OSError, sqlite3.Error, SQLAlchemyError, CommandError, ImportError
