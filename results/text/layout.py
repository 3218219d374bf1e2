"""Paragraphs, labelled entries and tables of plain text."""

from collections.abc import Sequence
from textwrap import wrap

LEAST_WIDTH = 40
WORD_JOIN = "\N{NO-BREAK SPACE}"
"""Stands for a space at which no line is broken; ``render`` turns it into one."""
LABEL_CHARACTERS = 10
GAP = "  "
DASH = "-"


def joined(*words: str) -> str:
    """Words that stay on one line."""
    return WORD_JOIN.join(words)


def paragraph(text: str, width: int) -> list[str]:
    return _wrap(text, width, "", "")


def entry(label: str, text: str, width: int) -> list[str]:
    """A label and beside it its text, continued below the text."""
    indent = GAP.ljust(len(GAP) + LABEL_CHARACTERS)
    return _wrap(text, width, GAP + label.ljust(LABEL_CHARACTERS), indent)


def _wrap(text: str, width: int, first: str, rest: str) -> list[str]:
    return wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


def table(
    align: str, headers: Sequence[Sequence[str]], rows: Sequence[Sequence[str]]
) -> list[str]:
    """Lines of a table; ``align`` has ``<`` or ``>`` per column.

    A row with fewer cells than columns ends in a remark, which may run over the columns after it.
    """
    lines = [*headers, *rows]
    columns = len(align)
    cells = [row if len(row) == columns else row[:-1] for row in lines]
    widths = [max(len(row[i]) for row in cells if i < len(row)) for i in range(columns)]
    return [_line(align, widths, row) for row in lines]


def _line(align: str, widths: Sequence[int], row: Sequence[str]) -> str:
    remark = len(row) - 1 if len(row) < len(align) else None
    cells = [
        cell.ljust(width) if side == "<" or i == remark else cell.rjust(width)
        for i, (cell, side, width) in enumerate(zip(row, align, widths, strict=False))
    ]
    return GAP.join(cells).rstrip()
