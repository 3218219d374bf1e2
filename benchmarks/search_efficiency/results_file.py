"""The results as JSON lines, appended as cells are finished, so that nothing is done twice."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.search_efficiency.cells import Cell

NAME = "results"
Key = tuple[str, str, int, str, float | None]


@dataclass(frozen=True, slots=True)
class Result:
    """A cell and its figures."""

    surface: str
    policy: str
    seed: int
    table: str
    launch_s: float | None
    trials: int
    """Asked for; what a budget was made from."""
    budget_s: float
    spent_s: Sequence[float]
    regret: Sequence[float]
    hypervolume: Sequence[float]
    launches: int
    launching_s: float

    @property
    def key(self) -> Key:
        return self.surface, self.policy, self.seed, self.table, self.launch_s


def file_of(folder: Path, shard: tuple[int, int]) -> Path:
    """Each shard's own, so that several machines may fill one folder."""
    number, of = shard
    return folder / (f"{NAME}.jsonl" if of == 1 else f"{NAME}-{number}-of-{of}.jsonl")


def read_results(folder: Path) -> dict[Key, Result]:
    """Of every shard; a line that a killed process left unfinished is no result.

    Raises:
        ValueError: a line that is of another version.
    """
    found: dict[Key, Result] = {}
    for file in sorted(folder.glob(f"{NAME}*.jsonl")):
        for line in file.read_text("utf-8").split("\n")[:-1]:
            try:
                result = Result(**json.loads(line))
            except (TypeError, ValueError) as error:
                raise ValueError(
                    f"{file} must hold results of this version, but: {error}; "
                    "choose another --output."
                ) from error
            found[result.key] = result
    return found


def append(file: Path, filled: Iterable[tuple[Cell, Mapping[str, Any]]], trials: int) -> None:
    """The lines of one unit, whole or not at all."""
    lines = [
        json.dumps(
            {
                "surface": cell.unit.surface,
                "policy": cell.unit.policy,
                "seed": cell.unit.seed,
                "table": cell.table,
                "launch_s": cell.launch_s,
                "trials": trials,
                **figures,
            },
            separators=(",", ":"),
        )
        for cell, figures in filled
    ]
    with file.open("a+b") as opened:
        _drop_torn_line(opened)
        opened.write("".join(line + "\n" for line in lines).encode())
        opened.flush()
        os.fsync(opened.fileno())


def _drop_torn_line(opened: Any) -> None:
    opened.seek(0)
    opened.truncate(opened.read().rfind(b"\n") + 1)
