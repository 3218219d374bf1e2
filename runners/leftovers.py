"""Engines that outlived a killed tuner: noted while they run, ended at the next start.

Only an engine whose tuner is gone is touched; two tuners at once leave each other's alone.
"""

import json
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from runners.process import end_session, session_processes, started_ticks

GRACE_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Whose engine runs in which session; ticks are since boot, as of ``started_ticks``."""

    sid: int
    sid_ticks: int
    owner: int
    owner_ticks: int
    command: str
    boot: str
    pid_namespace: str
    """Numbers of processes mean nothing in another container, even where the folder is shared."""


def folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Where notes are kept: private, made if it is missing.

    Raises:
        PermissionError: it belongs to somebody else, or is no folder of ours.
    """
    runtime = environ.get("XDG_RUNTIME_DIR")
    place = Path(tempfile.gettempdir()) / f"paretune-{os.getuid()}"
    if runtime and os.access(runtime, os.W_OK):
        place = Path(runtime) / "paretune"
    # A file or a dangling link in its place is told below.
    with suppress(FileExistsError):
        place.mkdir(mode=0o700, exist_ok=True)
    found = place.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise PermissionError(
            f"{place} must be a folder of your own, but somebody else made it or it is a link: "
            "remove it, or set XDG_RUNTIME_DIR to a folder of yours."
        )
    place.chmod(0o700)
    return place


@contextmanager
def noted(sid: int, *, command: str, environ: Mapping[str, str] = os.environ) -> Iterator[None]:
    """Keep a note of a running engine's session until the context is left.

    Args:
        command: what the user is told was ended; without arguments, which may hold a key.

    Raises:
        PermissionError: the folder of notes is not ours.
    """
    ticks = started_ticks(sid)
    if ticks is None:  # died already: nothing will be left of it that a note could find
        yield
        return
    note = Note(
        sid=sid,
        sid_ticks=ticks,
        owner=os.getpid(),
        owner_ticks=started_ticks(os.getpid()) or 0,
        command=command,
        boot=_boot(),
        pid_namespace=_pid_namespace(),
    )
    path = folder(environ) / f"{sid}-{ticks}.json"
    _write(path, note)
    try:
        yield
    finally:
        # What would not go is looked for again at the next start.
        if not session_processes(sid):
            path.unlink(missing_ok=True)


def end_leftovers(environ: Mapping[str, str] = os.environ) -> list[str]:
    """End the engines of tuners that are gone; says what was ended, one sentence each.

    Raises:
        EngineError: something would not go; its note stays.
        PermissionError: the folder of notes is not ours.
    """
    ended = []
    for path in sorted(folder(environ).glob("*.json")):
        note = _read(path)
        if note and _elsewhere_or_owned(note):
            continue
        if note and _is_left(note):
            end_session(note.sid, note.sid_ticks, grace_s=GRACE_S)
            ended.append(
                f"Ended `{note.command}` (process {note.sid}), left by a tuner that was killed "
                f"(process {note.owner})."
            )
        path.unlink(missing_ok=True)
    return ended


def _elsewhere_or_owned(note: Note) -> bool:
    """Whether its tuner still runs, or cannot be seen from here."""
    if note.boot != _boot():
        return False
    if note.pid_namespace != _pid_namespace():
        return True
    return started_ticks(note.owner) == note.owner_ticks


def _is_left(note: Note) -> bool:
    """Whether processes of that very session are alive: its leader, or ours begun under it."""
    if note.boot != _boot():
        return False
    leader = started_ticks(note.sid)
    if leader is not None:
        return leader == note.sid_ticks
    members = [process.pid for process in session_processes(note.sid)]
    return any((started_ticks(pid) or -1) >= note.sid_ticks and _is_ours(pid) for pid in members)


def _is_ours(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}").stat().st_uid == os.getuid()
    return False


def _write(path: Path, note: Note) -> None:
    """Whole or not at all: another tuner may be reading."""
    draft = path.with_suffix(f".{os.getpid()}")
    draft.write_text(json.dumps(asdict(note)), encoding="utf-8")
    draft.replace(path)


def _read(path: Path) -> Note | None:
    """``None``: damaged, or gone meanwhile."""
    try:
        entries = json.loads(path.read_bytes())
        note = Note(**entries)
    except (OSError, ValueError, TypeError):
        return None
    right = all(type(getattr(note, name)) is kind for name, kind in Note.__annotations__.items())
    return note if right and note.sid > 1 else None


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def _pid_namespace() -> str:
    return str(Path("/proc/self/ns/pid").readlink())
