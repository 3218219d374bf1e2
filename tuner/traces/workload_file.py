"""A workload as a file of JSON lines: a header, then one line per request."""

import json
import secrets
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from objectives.workload import Request, Workload
from tuner.errors import BadInput
from tuner.limits import of_zero
from tuner.traces.lines import json_row, read_lines
from tuner.traces.row import Row

MARK = "paretune_workload"
VERSION = 1


def write_workload(workload: Workload, path: Path) -> None:
    """Write all of the workload or leave the file as it was.

    Raises:
        BadInput: the file cannot be written.
    """
    scratch = path.parent / f".{secrets.token_hex(8)}.tmp"
    try:
        with scratch.open("x", encoding="ascii", newline="\n") as file:
            file.writelines(json.dumps(line) + "\n" for line in _lines(workload))
        scratch.replace(path)
    except OSError as error:
        raise BadInput(
            f"{path} cannot be written ({error.strerror}); check the folder and its free space."
        ) from None
    finally:
        with suppress(OSError):
            scratch.unlink()


def _lines(workload: Workload) -> Iterator[dict[str, Any]]:
    yield {
        MARK: VERSION,
        "name": workload.name,
        "concurrency": workload.concurrency,
        "block_tokens": workload.block_tokens,
        "source": workload.source,
    }
    for request in workload.requests:
        line = {
            "arrival_s": request.arrival_s,
            "input_tokens": request.input_tokens,
            "output_tokens": request.output_tokens,
        }
        yield line | _given(blocks=request.blocks, priority=request.priority)


def _given(**values: object) -> dict[str, object]:
    return {name: value for name, value in values.items() if value}


def read_workload(path: Path) -> Workload:
    """The workload that ``write_workload`` wrote, equal in every field.

    Raises:
        BadInput: the file cannot be read or is not a written workload.
    """
    lines = read_lines(path)
    first = next(lines, None)
    header = json_row(first) if first and first.is_json else None
    if header is None or MARK not in header.cells:
        raise BadInput(f"{path} is not a paretune workload; its first line must name `{MARK}`.")
    return workload_of(header, map(json_row, lines))


def workload_of(header: Row, rows: Iterable[Row]) -> Workload:
    """The workload of a parsed header and its request lines."""
    if header.cells[MARK] != VERSION:
        raise header.refusal(MARK, f"{VERSION}, the version this release reads")
    name, source = header.text("name"), header.text("source")
    block_tokens = header.tokens("block_tokens", least=1)
    concurrency = None
    if header.cells.get("concurrency") is not None:
        concurrency = header.tokens("concurrency", least=1)
    requests = tuple(_requests(rows))
    if not requests:
        raise BadInput(
            f"{header.place}: no request follows{of_zero(0)}; write the workload again."
        )
    return Workload(
        name=name,
        requests=requests,
        concurrency=concurrency,
        block_tokens=block_tokens,
        source=source,
    )


def _requests(rows: Iterable[Row]) -> Iterator[Request]:
    latest_s = 0.0
    for row in rows:
        request = Request(
            arrival_s=float(row.number("arrival_s")),
            input_tokens=row.tokens("input_tokens", least=1),
            output_tokens=row.tokens("output_tokens", least=1),
            blocks=row.blocks("blocks"),
            priority=row.priority(),
        )
        if request.arrival_s < latest_s:
            raise row.backwards()
        latest_s = request.arrival_s
        yield request
