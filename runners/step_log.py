"""The step log an engine wrote: what every step computed and how long it took.

Written by ``runners/vllm/inside/paretune_step_log.py``, which says what ``model_s`` is.
"""

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import get_type_hints


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


def read_step_log(path: Path) -> tuple[Step, ...]:
    """The steps of a log, whose last line may be cut short by the engine's end.

    Raises:
        ValueError: the file is no step log, or a line before the last cannot be read.
        OSError: it cannot be read at all.
    """
    text = path.read_text("utf-8")
    # A line without its end may be cut inside its last figure and still look whole.
    whole = text[: text.rfind("\n") + 1]
    rows = csv.reader(whole.splitlines())
    columns = next(rows, None)
    if columns is None:
        return ()
    if columns not in ([*_NUMBERS], [*_NUMBERS, "requests"]):
        raise ValueError(
            f"{path}: the first line must name the columns {','.join(_NUMBERS)} "
            f"(and may name requests), but is {','.join(columns)}."
        )
    return tuple(_step(row, columns, f"{path}:{line}") for line, row in enumerate(rows, 2))


def step_logs(path: Path) -> tuple[Path, ...]:
    """The files written for one ``PARETUNE_STEP_LOG``: one per data-parallel engine, by rank."""
    ranked = [log for log in path.parent.glob(f"{path.name}.*") if log.suffix[1:].isdecimal()]
    alone = (path,) if path.exists() else ()
    return (*alone, *sorted(ranked, key=lambda log: int(log.suffix[1:])))


def _step(row: list[str], columns: list[str], place: str) -> Step:
    if len(row) != len(columns):
        raise ValueError(f"{place}: a line must have {len(columns)} fields, but has {len(row)}.")
    found = dict(zip(columns, row, strict=True))
    try:
        numbers = {name: number(found[name]) for name, number in _NUMBERS.items()}
        requests = _requests(found["requests"]) if "requests" in found else None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{place}: every field must be a number, but {error}.") from error
    return Step(**numbers, requests=requests)


def _requests(text: str) -> StepRequests:
    named = json.loads(text)
    return StepRequests(
        prefills={str(name): int(tokens) for name, tokens in named["prefills"].items()},
        decodes=tuple(map(str, named["decodes"])),
        preempted=tuple(map(str, named["preempted"])),
    )
