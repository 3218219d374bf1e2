"""Read a trace of any known format."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path

from objectives.workload import Request, Workload
from tuner.errors import BadInput
from tuner.limits import of_zero
from tuner.traces.layout import Layout, layout_of
from tuner.traces.lines import csv_cells, csv_rows, json_row, plain, read_lines
from tuner.traces.row import Row
from tuner.traces.trace import Trace, tick_between, with_full_blocks
from tuner.traces.workload_file import MARK, workload_of

NO_INPUT = "no input tokens"
NO_OUTPUT = "no output tokens (failed request)"


def read_trace(path: Path) -> Trace:
    """The trace in a file whose format its header or first line tells.

    Raises:
        BadInput: the file cannot be read, its format is not known, or a row is malformed.
    """
    lines = read_lines(path)
    first = next(lines, None)
    if first is None:
        raise BadInput(
            f"{path} is empty{of_zero(0)}; name a trace file with at least two requests."
        )
    if not first.is_json:
        header = [plain(column) for column in csv_cells(first)]
        return _trace(path, layout_of(header, first.place), csv_rows(header, lines))
    row = json_row(first)
    rows = map(json_row, lines)
    if MARK in row.cells:
        return _trace_of(path, workload_of(row, rows))
    return _trace(path, layout_of(list(row.cells), row.place), chain([row], rows))


def _trace(path: Path, layout: Layout, rows: Iterator[Row]) -> Trace:
    first = next(rows, None)
    if first is None:
        raise BadInput(
            f"{path} has a header but no row{of_zero(0)}; name a file with at least two requests."
        )
    skipped: Counter[str] = Counter()
    requests, given = [], None
    for request, row in _usable(layout, chain([first], rows), skipped):
        given = _block_tokens(row, given)
        requests.append(request)
    block_tokens = given or layout.block_tokens
    trace = Trace(
        name=path.name,
        format=layout.release(first),
        requests=tuple(with_full_blocks(request, block_tokens) for request in requests),
        timed=layout.time is not None,
        block_tokens=block_tokens,
        tick_s=tick_between([request.arrival_s for request in requests]),
        skipped=dict(skipped),
    )
    return _replayable(path, trace)


def _usable(
    layout: Layout, rows: Iterable[Row], skipped: Counter[str]
) -> Iterator[tuple[Request, Row]]:
    """The rows a replay can send, as requests; the others are counted."""
    start: int | float | None = None
    for stamp, row in _in_order(layout, rows):
        input_tokens = sum(row.tokens(column) for column in layout.inputs)
        output_tokens = row.tokens(layout.output)
        blocks, priority = row.blocks(layout.blocks), row.priority()
        if not (input_tokens and output_tokens):
            skipped[NO_INPUT if output_tokens else NO_OUTPUT] += 1
            continue
        start = stamp if start is None else start
        arrival_s = (stamp - start) / layout.per_second
        yield Request(arrival_s, input_tokens, output_tokens, blocks, priority), row


def _in_order(layout: Layout, rows: Iterable[Row]) -> Iterator[tuple[int | float, Row]]:
    latest: int | float | None = None
    for row in rows:
        stamp = layout.stamp(row)
        if latest is not None and stamp < latest:
            raise row.backwards()
        latest = stamp
        yield stamp, row


def _block_tokens(row: Row, given: int | None) -> int | None:
    """Tokens per block as the rows so far give it, which must be one number."""
    tokens = row.block_tokens()
    if given is not None and tokens is not None and tokens != given:
        raise BadInput(
            f"{row.place}: `block_tokens` is {tokens} after {given}; use one size in a file."
        )
    return tokens or given


def _trace_of(path: Path, workload: Workload) -> Trace:
    """A written workload as a trace; a closed loop ignores its times, so it has none."""
    timed = workload.concurrency is None
    start_s = workload.requests[0].arrival_s
    requests = tuple(
        replace(request, arrival_s=request.arrival_s - start_s if timed else 0.0)
        for request in workload.requests
    )
    trace = Trace(
        name=path.name,
        format="paretune",
        requests=requests,
        timed=timed,
        block_tokens=workload.block_tokens,
        # The times were made for a replay, bursts included: nothing to spread.
        tick_s=0.0,
        skipped={},
    )
    return _replayable(path, trace)


def _replayable(path: Path, trace: Trace) -> Trace:
    count = len(trace.requests)
    if count >= (2 if trace.timed else 1):
        return trace
    skipped = "".join(f"; {rows:,} rows have {reason}" for reason, rows in trace.skipped.items())
    other = "a longer file" if count else "a file whose requests have tokens in and out"
    raise BadInput(
        f"{path} has {count} usable row{'s' * (count != 1)}{of_zero(count)}{skipped}; "
        f"a replay needs at least two requests, so name {other}."
    )
