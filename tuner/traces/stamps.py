"""Calendar stamps as the Azure traces write them, read to the nanosecond."""

import re
from datetime import UTC, datetime, timedelta

from tuner.traces.row import Row

PER_SECOND = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# The 2023 traces write 7 fractional digits and no zone, those of 2024 none to 6 and `+00:00`.
_STAMP = re.compile(
    r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?\s*(Z|[+-]\d\d:\d\d)?", re.ASCII
)


def stamp_ns(row: Row, column: str) -> int:
    """Nanoseconds since 1970; a stamp without a zone is read as UTC."""
    match = _STAMP.fullmatch(row.text(column))
    if match is None:
        raise row.refusal(column, "a stamp such as 2023-11-16 18:17:03.9799600")
    day, clock, fraction, zone = match.groups()
    try:
        seconds = datetime.fromisoformat(f"{day}T{clock}{zone or '+00:00'}") - _EPOCH
    except ValueError:
        raise row.refusal(column, "a date and time that exist") from None
    return seconds // timedelta(seconds=1) * PER_SECOND + int((fraction or "").ljust(9, "0"))


def has_zone(row: Row, column: str) -> bool:
    match = _STAMP.fullmatch(row.text(column))
    return match is not None and match[4] is not None
