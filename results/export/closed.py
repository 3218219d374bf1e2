"""Documents held against closed schemas: no key that is not named, no value of another type.

A schema is a type, a pattern, a tuple of alternatives, ``[SCHEMA]`` for lists, or a mapping of
keys; a key that ends in ``?`` may be missing, and the key ``str`` stands for any other.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

COUNT = re.compile(r"[1-9][0-9]*")
"""A whole number as text, as Kubernetes wants quantities of GPUs."""


def complaints(document: Any, schema: Any, at: str = "") -> list[str]:
    """What is wrong, each with its place."""
    return list(_complaints(document, schema, at))


def _complaints(value: Any, schema: Any, at: str) -> Iterator[str]:
    match schema:
        case dict():
            yield from _keys(value, schema, at)
        case tuple():
            if all(any(_complaints(value, one, at)) for one in schema):
                yield _wrong(value, " or ".join(map(_named, schema)), at)
        case [item]:
            if not isinstance(value, list):
                yield _wrong(value, "a list", at)
                return
            for index, one in enumerate(value):
                yield from _complaints(one, item, f"{at}[{index}]")
        case _:
            if not _fits(value, schema):
                yield _wrong(value, _named(schema), at)


def _keys(value: Any, schema: Mapping[Any, Any], at: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield _wrong(value, "a mapping", at)
        return
    known = {name.removesuffix("?"): inner for name, inner in schema.items() if name is not str}
    for name, inner in value.items():
        path = f"{at}.{name}" if at else str(name)
        if name in known:
            yield from _complaints(inner, known[name], path)
        elif str in schema:
            yield from _complaints(inner, schema[str], path)
        else:
            yield f"`{path}` is no key of it"
    for name in schema:
        if name is not str and not name.endswith("?") and name not in value:
            yield f"`{at}.{name}` is missing" if at else f"`{name}` is missing"


def _fits(value: Any, schema: Any) -> bool:
    if isinstance(schema, re.Pattern):
        return isinstance(value, str) and schema.fullmatch(value) is not None
    if schema is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if isinstance(schema, type):
        return isinstance(value, schema) and (schema is bool or not isinstance(value, bool))
    return type(value) is type(schema) and bool(value == schema)


def _named(schema: Any) -> str:
    if isinstance(schema, re.Pattern):
        return f"text like {schema.pattern}"
    names = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
    if isinstance(schema, type):
        return names[schema]
    return "a mapping" if isinstance(schema, dict) else repr(schema)


def _wrong(value: Any, wanted: str, at: str) -> str:
    return f"`{at or 'the document'}` must be {wanted}, but is {value!r}"
