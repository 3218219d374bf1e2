"""What can befall a study's database and files at any moment, as one line that says what to do."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager

from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import SQLAlchemyError

from results.mlflow import public
from tuner.errors import BadInput
from tuner.folder import Folder

DAMAGED = ("malformed", "not a database", "no such table", "no such column", "decode to UTF-8")
LONGEST = 120
"""Characters of a database's own words: some quote all they could not read."""


def how_to_resume(folder: Folder, storage: str | None) -> str:
    """The command that goes on with a study, without the secrets of a database's address."""
    command = f"tune resume {shlex.quote(str(folder.path))}"
    if storage is None:
        return command
    return f"{command} --storage {shlex.quote(storage) if public(storage) == storage else 'URL'}"


@contextmanager
def explained(folder: Folder, storage: str | None) -> Iterator[None]:
    """Turns trouble with a study's database and files into ``BadInput``, whenever it comes."""
    try:
        yield
    except (StorageInternalError, SQLAlchemyError) as error:
        cause = error.__cause__ or error
        reason = public(str(getattr(cause, "orig", cause)).splitlines()[0])[:LONGEST]
        advice = _advice(folder, storage, reason)
        # The cause would print the address, password and all.
        raise BadInput(
            f"The study's database {place(folder, storage)} cannot be used: {reason}. {advice}"
        ) from None
    except BrokenPipeError:
        raise
    except OSError as error:
        where = error.filename or folder.path
        after = f"; mend that, then: {how_to_resume(folder, storage)}" if folder.begun else ""
        raise BadInput(f"{where} cannot be used: {error.strerror or error}{after}.") from error


def place(folder: Folder, storage: str | None) -> str:
    """Where the database is, without users and passwords."""
    return public(storage) if storage else str(folder.database)


def _advice(folder: Folder, storage: str | None, reason: str) -> str:
    if any(sign in reason for sign in DAMAGED):
        if folder.trials.exists() and folder.trials.stat().st_size:
            return f"{folder.trials} still holds every answered trial; choose another --output."
        return "Choose another --output."
    if folder.begun:
        return f"No answered trial is lost; mend that, then: {how_to_resume(folder, storage)}"
    return "Check --storage." if storage else "Check the folder and its free space."
