"""The step log an engine wrote: what every step computed and how long it took.

Written by ``runners/vllm/inside/paretune_step_log.py``, which says what ``model_s`` is.
"""

import csv
import json
import reprlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints


@dataclass(frozen=True, slots=True)
class StepRequests:
    """Who took part in a step, by the engine's own request names."""

    prefills: Mapping[str, int]
    """Prompt tokens computed by request, in order of scheduling."""
    decodes: tuple[str, ...]
    preempted: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step that computed at least one token."""

    start_s: float
    """On the engine machine's monotonic clock."""
    n_prefills: int
    prefill_tokens: int
    prefill_attention: int
    """Sum over prompts of new tokens x mean context."""
    n_decodes: int
    decode_kv_tokens: int
    running: int
    waiting: int
    kv_usage: float
    """Share of the KV blocks in use."""
    preemptions: int
    """Since the row before."""
    schedule_s: float
    model_s: float
    post_s: float
    requests: StepRequests | None = None
    """Only where ``PARETUNE_STEP_LOG_REQUESTS`` asked for it."""


_NUMBERS = {
    field.name: get_type_hints(Step)[field.name]
    for field in fields(Step)
    if field.name != "requests"
}
_TOO_LARGE = 10**15
"""A whole number below it is one as a float too."""
_GIVE_ANOTHER = "give a log that an engine wrote (logs/steps-N.csv of a study)"
_CUT_OFF = "delete the line, or log the engine again"


def read_step_log(path: Path) -> tuple[Step, ...]:
    """The steps of a log, whose last line may be cut short by the engine's end.

    Raises:
        ValueError: the file is no step log, or a line before the last cannot be read.
        OSError: it cannot be read at all.
    """
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{path}: must be UTF-8 text, but is not; {_GIVE_ANOTHER}.") from None
    # A line without its end may be cut inside its last figure and still look whole.
    whole = text[: text.rfind("\n") + 1]
    rows = _rows(whole, path)
    columns = next(rows, None)
    if columns is None:
        return ()
    if columns not in ([*_NUMBERS], [*_NUMBERS, "requests"]):
        raise ValueError(
            f"{path}: the first line must name the columns {','.join(_NUMBERS)} "
            f"(and may name requests), but is {reprlib.repr(','.join(columns))}; {_GIVE_ANOTHER}."
        )
    return tuple(_step(row, columns, f"{path}:{line}") for line, row in enumerate(rows, 2))


def step_logs(path: Path) -> tuple[Path, ...]:
    """The files written for one ``PARETUNE_STEP_LOG``: one per data-parallel engine, by rank."""
    ranked = [log for log in path.parent.glob(f"{path.name}.*") if log.suffix[1:].isdecimal()]
    alone = (path,) if path.exists() else ()
    return (*alone, *sorted(ranked, key=lambda log: int(log.suffix[1:])))


def _rows(text: str, path: Path) -> Iterator[list[str]]:
    reader = csv.reader(text.splitlines())
    try:
        yield from reader
    except csv.Error as error:
        raise ValueError(f"{path}:{reader.line_num}: {error}; {_CUT_OFF}.") from None


def _step(row: list[str], columns: list[str], place: str) -> Step:
    if len(row) != len(columns):
        raise ValueError(
            f"{place}: a line must have {len(columns)} fields, but has {len(row)}; {_CUT_OFF}."
        )
    found = dict(zip(columns, row, strict=True))
    numbers: dict[str, Any] = {name: _number(name, found[name], place) for name in _NUMBERS}
    return Step(**numbers, requests=_requests(found.get("requests"), place))


def _number(name: str, text: str, place: str) -> int | float:
    kind = _NUMBERS[name]
    wanted = "a whole number of at most 15 digits" if kind is int else "a number"
    try:
        value: int | float = kind(text)
        if kind is int and abs(value) >= _TOO_LARGE:
            raise ValueError
    except ValueError:
        raise ValueError(
            f"{place}: `{name}` must be {wanted}, but is {reprlib.repr(text)}; {_CUT_OFF}."
        ) from None
    return value


def _requests(text: str | None, place: str) -> StepRequests | None:
    if text is None:
        return None
    try:
        named = json.loads(text)
        return StepRequests(
            prefills={str(name): int(tokens) for name, tokens in named["prefills"].items()},
            decodes=tuple(map(str, named["decodes"])),
            preempted=tuple(map(str, named["preempted"])),
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        raise ValueError(
            f"{place}: `requests` must be a JSON object of prefills, decodes and preempted, "
            f"but is {reprlib.repr(text)}; {_CUT_OFF}."
        ) from None
