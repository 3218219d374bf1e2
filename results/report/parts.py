"""What a page consists of: sections of sentences, tables and figures, in plain Python."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A chart in the terms of plotly.js; colours are names of the page's own, as in ``ink``."""

    name: str
    """Unlike that of any other figure of the page."""
    title: str
    alt: str
    """What it shows, for who cannot see it."""
    traces: Sequence[Mapping[str, Any]]
    layout: Mapping[str, Any]
    height_px: int = 420
    half: bool = False
    """Whether two of them stand side by side where there is room."""

    @property
    def plotly(self) -> dict[str, Any]:
        return {"data": list(self.traces), "layout": dict(self.layout)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """Text in a table, with a tone of the page's own: ``good``, ``bad``, ``own``, ``quiet``."""

    text: str
    tone: str = ""
    head: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[Cell | str]]
    align: str = ""
    """``<`` or ``>`` per column; all ``<`` where empty."""

    @property
    def heads(self) -> list[tuple[str, str]]:
        """(name, ``<`` or ``>``) by column."""
        return list(zip(self.head, self._sides, strict=True))

    @property
    def cells(self) -> list[list[tuple[Cell, str]]]:
        """(cell, ``<`` or ``>``) by row."""
        rows = [[c if isinstance(c, Cell) else Cell(text=c) for c in row] for row in self.rows]
        return [list(zip(row, self._sides, strict=True)) for row in rows]

    @property
    def _sides(self) -> str:
        return self.align or "<" * len(self.head)


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Sentences are strings among the parts."""

    anchor: str
    title: str
    lead: str = ""
    """What is to be seen here, in a sentence."""
    parts: Sequence["str | Table | Figure | Points"] = field(default_factory=tuple)


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """Sentences that stand for themselves, under a title."""

    title: str
    items: Sequence[str]
