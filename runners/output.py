"""What an engine writes: the last lines in memory, all of it in a file while the disk has room."""

import os
import threading
from collections import deque
from pathlib import Path
from typing import IO

LINES_KEPT = 2000
LINE_CHARACTERS = 4000
TAIL_BYTES = 1_000_000
JOIN_S = 2.0
"""How long the last of an ended engine's output is waited for."""


class Output:
    """A thread that always reads on, so that the engine never waits for a full pipe.

    Args:
        log: appended to, readable by its owner only; a full disk ends the file, nothing else.
    """

    def __init__(self, stream: IO[bytes], log: Path | None = None) -> None:
        self.trouble: str | None = None
        """Why there is no more in the file than there is."""
        self._stream = stream
        self._kept: deque[str] = deque(maxlen=LINES_KEPT)
        self._unfinished = b""
        self._lock = threading.Lock()
        self._log = self._open(log) if log else None
        self._thread = threading.Thread(target=self._read, name="engine output", daemon=True)
        self._thread.start()

    @property
    def lines(self) -> list[str]:
        """The last lines, oldest first, the unfinished one included."""
        with self._lock:
            rest = [_text(self._unfinished)] if self._unfinished else []
            return [*self._kept, *rest]

    def join(self) -> None:
        """Wait for the end of the output, but not for strangers who hold the pipe open."""
        self._thread.join(JOIN_S)

    def _open(self, log: Path) -> int | None:
        try:
            return os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            self.trouble = f"No log was kept: {error.strerror}: {log}"
            return None

    def _read(self) -> None:
        with self._stream as stream:
            while chunk := os.read(stream.fileno(), 65536):
                self._keep(chunk)
                self._write(chunk)
        if self._log is not None:
            os.close(self._log)

    def _keep(self, chunk: bytes) -> None:
        with self._lock:
            *whole, rest = (self._unfinished + chunk).split(b"\n")
            self._kept.extend(_text(line) for line in whole)
            # Four bytes are the longest character.
            self._unfinished = rest[: 4 * LINE_CHARACTERS]

    def _write(self, chunk: bytes) -> None:
        if self._log is None:
            return
        try:
            while chunk:
                chunk = chunk[os.write(self._log, chunk) :]
        except OSError as error:
            self.trouble = f"The log ends early: {error.strerror}."
            os.close(self._log)
            self._log = None


def _text(line: bytes) -> str:
    """Of a progress bar, which returns to the line's start again and again, its last state."""
    shown = line.rstrip(b"\r").rpartition(b"\r")[2]
    return shown.decode("utf-8", errors="replace")[:LINE_CHARACTERS]


def tail(log: Path) -> list[str]:
    """The last lines of a file; none where it cannot be read."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
            text = file.read(TAIL_BYTES)
    except OSError:
        return []
    return [_text(line) for line in text.removesuffix(b"\n").split(b"\n")][-LINES_KEPT:]
