"""What a person sees while a study runs; on stderr, so that stdout holds results only."""

import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import TextIO

from tuner.progress.lines import Lines
from tuner.progress.silent import Silent
from tuner.progress.state import Progress, State
from tuner.progress.words import SHOWN


def progress(
    *,
    quiet: bool,
    json: bool,
    stream: TextIO | None = None,
    clock: Callable[[], float] = time.monotonic,
    knobs: Sequence[str] = SHOWN,
) -> Progress:
    """A table in a terminal, lines elsewhere, nothing when quiet or when JSON is wanted.

    ``knobs`` are those shown of every config.
    """
    if quiet or json:
        return Silent()
    stream = stream or sys.stderr
    if not stream.isatty() or os.environ.get("TERM", "dumb") == "dumb":
        return Lines(stream, knobs)
    # rich is slow to import and needed only here.
    from rich.console import Console

    from tuner.progress.live import Live

    return Live(Console(file=stream), knobs, clock)


__all__ = ["Progress", "State", "progress"]
