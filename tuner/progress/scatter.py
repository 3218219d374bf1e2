"""A scatter of plain characters: it needs neither colour nor more than ASCII."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import exp, log

from results.text.figures import number

CORNER = " +"
SIDE = " |"
NAMED_ROWS = 3
"""Besides those of the scatter itself: its title, its lower edge and the numbers below it."""


class Mark(StrEnum):
    """What a point is; of those that fall together the last of these is seen."""

    BROKEN = "x"
    DOMINATED = "."
    FRONT = "o"
    DEFAULT = "D"


LEGEND = {
    Mark.DEFAULT: "default",
    Mark.FRONT: "front",
    Mark.DOMINATED: "dominated",
    Mark.BROKEN: "breaks the SLA",
}


@dataclass(frozen=True, slots=True)
class Point:
    x: float
    y: float
    mark: Mark


@dataclass(frozen=True, slots=True)
class Axis:
    """Values from ``low`` to ``high`` as shares of the way between."""

    low: float
    high: float
    logarithmic: bool = False

    @classmethod
    def over(cls, values: Sequence[float], *, logarithmic: bool = False) -> "Axis":
        low, high = min(values), max(values)
        return cls(low, high, logarithmic and low > 0)

    @property
    def ticks(self) -> tuple[float, ...]:
        """Shares at which the value is written."""
        return (0.0, 0.5, 1.0) if self.high > self.low else (0.5,)

    def share(self, value: float) -> float:
        if self.high <= self.low:
            return 0.5
        if self.logarithmic:
            return (log(value) - log(self.low)) / (log(self.high) - log(self.low))
        return (value - self.low) / (self.high - self.low)

    def value(self, share: float) -> float:
        if self.logarithmic:
            return exp(log(self.low) + share * (log(self.high) - log(self.low)))
        return self.low + (self.high - self.low) * share


def scatter(
    points: Sequence[Point], *, x_name: str, y_name: str, width: int, rows: int
) -> list[str]:
    """Lines of at most ``width`` characters, ``NAMED_ROWS`` more than ``rows``.

    Args:
        y_name: of an axis that is logarithmic where it can be; more of y is higher up.
    """
    x = Axis.over([point.x for point in points])
    y = Axis.over([point.y for point in points], logarithmic=True)
    ticks = {_row(share, rows): number(y.value(share)) for share in y.ticks}
    margin = max(len(tick) for tick in ticks.values())
    columns = width - margin - len(SIDE)
    cells = [[" "] * columns for _ in range(rows)]
    for point in sorted(points, key=lambda p: list(Mark).index(p.mark)):
        cells[_row(y.share(point.y), rows)][_column(x.share(point.x), columns)] = point.mark
    indent = " " * (margin + len(SIDE))
    lines = [
        _title(f"{y_name} (log)" if y.logarithmic else y_name, {p.mark for p in points}, width),
        *(f"{ticks.get(row, ''):>{margin}}{SIDE}{''.join(cells[row])}" for row in range(rows)),
        f"{' ' * margin}{CORNER}{f' {x_name}'.rjust(columns, '-')}",
        f"{indent}{_numbers(x, columns)}",
    ]
    return [line.rstrip() for line in lines]


def _row(share: float, rows: int) -> int:
    return round((1 - share) * (rows - 1))


def _column(share: float, columns: int) -> int:
    return round(share * (columns - 1))


def _title(name: str, marks: Iterable[Mark], width: int) -> str:
    """The name on the left and, where there is room, what the marks mean on the right."""
    legend = "  ".join(f"{mark} {LEGEND[mark]}" for mark in LEGEND if mark in marks)
    room = width - len(name) - 2
    return f"{name}  {legend.rjust(room)}" if len(legend) <= room else name


def _numbers(axis: Axis, columns: int) -> str:
    line = " " * columns
    for share in axis.ticks:
        text = number(axis.value(share))
        begin = round(share * (columns - len(text)))
        line = line[:begin] + text + line[begin + len(text) :]
    return line
