"""A study file's entries as ``ObjectiveFile``, or what is wrong with them and on which line."""

import reprlib
from collections.abc import Sequence
from dataclasses import fields
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from tuner.errors import BadInput
from tuner.limits import of_zero
from tuner.study_file import (
    ADAPTER,
    ArrivalsEntry,
    LengthsEntry,
    LengthsPair,
    ObjectiveFile,
    WorkloadEntry,
)
from tuner.yaml_file import YamlFile

Steps = tuple[str | int, ...]
KINDS: dict[Steps, type] = {
    (): ObjectiveFile,
    ("workload",): WorkloadEntry,
    ("workload", "arrivals"): ArrivalsEntry,
    ("workload", "lengths"): LengthsPair,
    ("workload", "lengths", "input"): LengthsEntry,
    ("workload", "lengths", "output"): LengthsEntry,
}
WORDS = {
    "Input should be": "must be",
    "String should have": "must have",
    "greater than or equal to": "at least",
    "less than or equal to": "at most",
    "greater than": "above",
    "less than": "below",
}
"""Ours for pydantic's."""
LOADS = frozenset(
    {"request_rate", "concurrency", "tokens", "median", "p90", "longest", "scale_tokens"}
)
"""Entries of which 0 asks for no load at all."""
MAPPINGS = ("dataclass_type", "dict_type")


def entries(file: YamlFile) -> ObjectiveFile:
    """What a study file says.

    Raises:
        BadInput: an entry that is not known or impossible, with its line.
    """
    try:
        return ADAPTER.validate_python({} if file.content is None else file.content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        path = _there(first["loc"], file.content)
        name = f"`{'.'.join(map(str, path))}` " if path else "the file "
        wrong = _wrong(first, path, _at(path, file.content))
        raise BadInput(f"{file.place(path)}: {name}{wrong}.") from error


def _there(loc: Sequence[str | int], content: Any) -> Steps:
    """The steps that the file itself has; pydantic adds its own, such as a union's branch."""
    for count, step in enumerate(loc):
        is_list = isinstance(content, list)
        steps = range(len(content)) if is_list else content if isinstance(content, dict) else ()
        if step not in steps:
            return tuple(loc[:count])
        content = content[step]
    return tuple(loc)


def _at(path: Steps, content: Any) -> Any:
    for step in path:
        content = content[step]
    return content


def _wrong(first: ErrorDetails, path: Steps, value: Any) -> str:
    """What is wrong with the entry, after its name."""
    kind, message = first["type"], first["msg"]
    if kind == "unexpected_keyword_argument":
        return _unknown(path)
    if kind == "value_error":
        return f"cannot be used: {message.removeprefix('Value error, ').rstrip('.')}"
    if kind == "missing":
        missing = first["loc"][-1]
        return "needs one more entry" if isinstance(missing, int) else f"needs `{missing}`"
    if kind in MAPPINGS:
        return f"must be a mapping of `name: value` lines, but is {reprlib.repr(value)}"
    if path[:1] == ("set",):
        return f"must be a finite number, a text, true or false, but is {reprlib.repr(value)}"
    for theirs, ours in WORDS.items():
        message = message.replace(theirs, ours)
    zero = of_zero(value) if path and path[-1] in LOADS else ""
    return f"{message}, but is {reprlib.repr(value)}{zero}"


def _unknown(path: Steps) -> str:
    known = [entry.name for entry in fields(KINDS[path[:-1]])]
    near = get_close_matches(str(path[-1]), known, n=1)
    return f"is not known; {f'nearest: {near[0]}' if near else 'known: ' + ', '.join(known)}"
