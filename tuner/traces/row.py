"""One row of a trace file, its cells read as checked numbers."""

import math
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass

from tuner.errors import BadInput

MOST_TOKENS = 1_000_000_000
"""Far above any context window: a larger number is some other column."""


@dataclass(frozen=True, slots=True)
class Row:
    place: str
    """``file:line``."""
    cells: Mapping[str, object]

    def number(self, column: str) -> int | float:
        """A finite number of at least 0."""
        number = _number(self._cell(column))
        if number is None or number < 0:
            raise self.refusal(column, "a finite number of at least 0")
        return number

    def tokens(self, column: str, *, least: int = 0) -> int:
        number = _number(self._cell(column))
        if number is None or number != int(number) or not least <= number <= MOST_TOKENS:
            raise self.refusal(column, f"a whole number from {least} to {MOST_TOKENS:,}")
        return int(number)

    def priority(self) -> int:
        """The priority; 0 when the row gives none."""
        if self.cells.get("priority") is None:
            return 0
        number = _number(self.cells["priority"])
        if number is None or number != int(number):
            raise self.refusal("priority", "a whole number")
        return int(number)

    def blocks(self, column: str) -> tuple[int, ...]:
        """Block identities; none when the row gives none."""
        value = self.cells.get(column)
        if value is None:
            return ()
        if isinstance(value, list) and all(type(block) is int for block in value):
            return tuple(value)
        raise self.refusal(column, "a list of whole numbers")

    def block_tokens(self) -> int | None:
        """Tokens per block, when the row gives it."""
        if self.cells.get("block_tokens") is None:
            return None
        return self.tokens("block_tokens", least=1)

    def text(self, column: str) -> str:
        value = self._cell(column)
        if not isinstance(value, str):
            raise self.refusal(column, "a text")
        return value

    def backwards(self) -> BadInput:
        """What to raise for a time before that of the row above."""
        return BadInput(f"{self.place}: the time runs backwards; sort the file by time.")

    def _cell(self, column: str) -> object:
        if column not in self.cells:
            raise BadInput(f"{self.place}: `{column}` is missing; add it or remove the row.")
        return self.cells[column]

    def refusal(self, column: str, wanted: str) -> BadInput:
        """What to raise for a cell that holds something else."""
        got = reprlib.repr(self.cells[column])
        return BadInput(
            f"{self.place}: `{column}` must be {wanted}, but got {got}; correct or remove the row."
        )


def _number(value: object) -> int | float | None:
    """The finite number a cell spells, whole ones exactly; ``None`` when it spells none."""
    # Python's own reading takes `1_000` for a number; no CSV writer means that.
    if isinstance(value, bool) or (isinstance(value, str) and "_" in value):
        return None
    if not isinstance(value, (str, int, float)):
        return None
    try:
        whole = isinstance(value, str) and value.isascii() and value.isdigit()
        number = int(value) if whole or isinstance(value, int) else float(value)
        return number if math.isfinite(number) else None
    except (ValueError, OverflowError):
        return None
