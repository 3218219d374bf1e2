"""Durations as people type them, ``30m``, ``8h``, ``90``, and as they are told them."""

import re

from results.text.figures import duration
from results.text.layout import WORD_JOIN
from tuner.errors import BadInput

DURATION = re.compile(r"(\d{1,12}(?:\.\d{1,12})?)\s*([smhd]?)", re.ASCII)
SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
LONGEST_S = 10_000 * 86400


def seconds(text: str, place: str) -> float:
    """Seconds of a duration; a bare number counts seconds.

    Raises:
        BadInput: it does not parse, or is not above 0 and at most 10000 days.
    """
    match = DURATION.fullmatch(text.strip().lower())
    if match is None:
        raise BadInput(f"{place} {text!r} must be a duration such as 30m or 8h.")
    asked_s = float(match[1]) * SECONDS[match[2]]
    if not 0 < asked_s <= LONGEST_S:
        raise BadInput(f"{place} must be above 0 and at most 10000d, but got {text}.")
    return asked_s


def words(seconds: float) -> str:
    """``8 min 20 s``."""
    return duration(seconds).replace(WORD_JOIN, " ")
