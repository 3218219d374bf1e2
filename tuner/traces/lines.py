"""Lines of a text file, each with its place for error messages, and the rows they spell."""

import csv
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import BinaryIO

from tuner.errors import BadInput
from tuner.traces.row import Row

LONGEST_LINE_BYTES = 8 << 20
"""Room for the block identities of a ten-million-token prompt; bounds what a junk file costs."""


@dataclass(frozen=True, slots=True)
class Line:
    place: str
    """``file:line``."""
    text: str

    @property
    def is_json(self) -> bool:
        return self.text.startswith("{")


def read_lines(path: Path) -> Iterator[Line]:
    """The lines that are not blank.

    Raises:
        BadInput: not a readable UTF-8 text file.
    """
    try:
        with path.open("rb") as file:
            yield from _lines(path, file)
    except FileNotFoundError:
        raise BadInput(f"{path} does not exist; check the path.") from None
    except IsADirectoryError:
        raise BadInput(f"{path} is a folder; name a trace file in it.") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise BadInput(f"{path} cannot be read ({reason}); check the path.") from None


def _lines(path: Path, file: BinaryIO) -> Iterator[Line]:
    for number in count(1):
        raw = file.readline(LONGEST_LINE_BYTES + 1)
        if not raw:
            return
        place = f"{path}:{number}"
        if len(raw) > LONGEST_LINE_BYTES:
            raise BadInput(
                f"{place}: the line is longer than {LONGEST_LINE_BYTES:,} bytes; "
                "write one request per line."
            )
        try:
            text = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip()
        except UnicodeDecodeError:
            raise BadInput(
                f"{place}: not UTF-8 text; unpack the file or export it as CSV or JSONL in UTF-8."
            ) from None
        if text:
            yield Line(place, text)


def plain(column: str) -> str:
    """A column's name as formats are told apart by: lower case, single spaces."""
    return " ".join(column.lower().split())


def csv_cells(line: Line) -> list[str]:
    """The cells of one line; a quoted cell does not run on to the next."""
    try:
        [cells] = csv.reader([line.text], strict=True, skipinitialspace=True)
    except (csv.Error, ValueError) as error:
        raise BadInput(f"{line.place}: not a CSV row ({error}); correct the row.") from None
    return [cell.strip() for cell in cells]


def csv_rows(header: list[str], lines: Iterable[Line]) -> Iterator[Row]:
    for line in lines:
        cells = csv_cells(line)
        if len(cells) != len(header):
            raise BadInput(
                f"{line.place}: {len(cells)} cells under a header of {len(header)}; "
                "complete or remove the row."
            )
        yield Row(line.place, dict(zip(header, cells, strict=True)))


def json_row(line: Line) -> Row:
    try:
        keys = json.loads(line.text)
    except json.JSONDecodeError as error:
        reason = f"{error.msg.lower()} at character {error.pos + 1}"
    except (ValueError, RecursionError) as error:
        reason = str(error)
    else:
        if isinstance(keys, dict):
            return Row(line.place, {plain(key): value for key, value in keys.items()})
        reason = "another kind of value"
    raise BadInput(f"{line.place}: not a JSON object ({reason}); write one object per line.")
