"""Headers of exported files."""

from collections.abc import Iterable
from pathlib import PurePath

UNCOMMENTED = {".json"}
"""Formats without comments; their provenance is in the file beside them alone."""


def commented(name: str, body: str, lines: Iterable[str]) -> str:
    """The file's text with a header of comments, below the first line of a script."""
    if PurePath(name).suffix in UNCOMMENTED:
        return body
    header = "".join(f"# {one_line(line)}\n" for line in lines)
    if body.startswith("#!"):
        first, _, rest = body.partition("\n")
        return f"{first}\n{header}{rest}"
    return header + body


def one_line(text: str) -> str:
    """No line break and nothing else that YAML refuses or that would end the comment."""
    return "".join(character if character.isprintable() else " " for character in text)
