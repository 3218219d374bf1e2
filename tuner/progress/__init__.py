"""What a person sees while a study runs; on stderr, so that stdout holds results only."""

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TextIO

from objectives import Goal
from results.record import TrialRecord
from tuner.progress.lines import Lines
from tuner.progress.silent import Silent
from tuner.progress.state import Progress, State
from tuner.progress.words import SHOWN

NO = ("", "0", "false", "no")


def progress(
    *,
    quiet: bool,
    json: bool,
    stream: TextIO | None = None,
    clock: Callable[[], float] = time.monotonic,
    knobs: Sequence[str] = SHOWN,
    axes: Mapping[str, tuple[Goal, Goal]] | None = None,
    known: Sequence[TrialRecord] = (),
) -> Progress:
    """A live view in a terminal, lines elsewhere, nothing when quiet or when JSON is wanted.

    Args:
        knobs: those shown of every config.
        axes: of each objective, the throughput and the latency that its frontier is drawn in.
        known: what an earlier run of the study tried.
    """
    if quiet or json:
        return Silent()
    stream = stream or sys.stderr
    if not _redraws(stream):
        return Lines(stream, knobs)
    # rich is slow to import and needed only here.
    from rich.console import Console

    from tuner.progress.live import Live

    return Live(Console(file=stream), knobs, clock, axes or {}, known)


def _redraws(stream: TextIO) -> bool:
    """Whether lines can be drawn over: some CI services have a terminal, but keep a log of it."""
    dumb = os.environ.get("TERM", "dumb") == "dumb"
    return stream.isatty() and not dumb and os.environ.get("CI", "").lower() in NO


__all__ = ["Progress", "State", "progress"]
