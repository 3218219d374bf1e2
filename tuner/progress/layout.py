"""Where on a terminal of some size the words, the table and the frontier stand."""

from collections.abc import Callable, Iterable, Sequence
from itertools import zip_longest

from rich.text import Text

from results.text.layout import paragraph
from tuner.progress.scatter import NAMED_ROWS, SIDE, Mark
from tuner.progress.words import spaced

LEAST_COLUMNS, LEAST_ROWS = 80, 20
"""Of a terminal that has room for the frontier."""
BESIDE_COLUMNS = 120
"""Of one where it stands beside the table, not above it."""
GAP = 4
FEWEST_ROWS, MOST_ROWS = 3, 16
"""Of the frontier itself."""
STYLES = {
    Mark.BROKEN: "dim",
    Mark.DOMINATED: "dim",
    Mark.FRONT: "bold green",
    Mark.DEFAULT: "bold",
}
Drawn = Callable[[int, int], Sequence[str]]
"""The frontier in so many columns, and so many rows besides those of its names."""


def laid_out(
    told: Iterable[str], best: Sequence[str], drawn: Drawn, *, columns: int, rows: int
) -> list[Text]:
    """
    Args:
        told: sentences, each begins a line.
        best: lines of a table with one line of headers.
    """
    head = [_line(spaced(line)) for words in told for line in paragraph(words, columns)]
    lines = [_line(line, "" if index else "bold") for index, line in enumerate(best)]
    # The cursor stands in the last row.
    left = rows - len(head) - 1
    if columns < LEAST_COLUMNS or rows < LEAST_ROWS:
        return [*head, *lines]
    if columns < BESIDE_COLUMNS:
        return [*head, *_fitted(drawn, columns, left - len(lines)), *lines]
    begin = max(map(len, best)) + GAP
    beside = _fitted(drawn, columns - begin, left)
    return [*head, *(_beside(*pair, begin) for pair in zip_longest(lines, beside))]


def _fitted(drawn: Drawn, columns: int, room: int) -> list[Text]:
    """Nothing where it would be squeezed."""
    rows = min(MOST_ROWS, room - NAMED_ROWS)
    return [] if rows < FEWEST_ROWS else [_marked(line) for line in drawn(columns, rows)]


def _line(text: str, style: str = "") -> Text:
    return Text(text, style, no_wrap=True, overflow="crop")


def _marked(line: str) -> Text:
    """A line of the scatter; its marks are told apart by style, too."""
    text = _line(line)
    inside = line.find(SIDE) + len(SIDE)
    if SIDE in line:
        for place, mark in enumerate(line[inside:], inside):
            if mark in STYLES:
                text.stylize(STYLES[Mark(mark)], place, place + 1)
    return text


def _beside(line: Text | None, drawn: Text | None, begin: int) -> Text:
    text = line.copy() if line else _line("")
    text.pad_right(begin - len(text))
    return text + (drawn or _line(""))
