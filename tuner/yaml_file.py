"""YAML files of users, read so that whatever is wrong can be told with its line."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tuner.errors import BadInput

LARGEST_BYTES = 200_000
INT_TAG, FLOAT_TAG = "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"
WHOLE = re.compile(r"[-+]?[0-9]{1,18}")
NUMBER = re.compile(
    r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
)


class _Loader(yaml.SafeLoader):
    """YAML with the numbers of YAML 1.2: in 1.1 ``8:32`` is 512, ``010`` is 8, ``1e3`` a text."""


def _whole(loader: yaml.SafeLoader, node: yaml.Node) -> int:
    if not WHOLE.fullmatch(str(node.value)):
        raise ValueError(f"{node.value} is not a whole number")
    return int(node.value)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in (INT_TAG, FLOAT_TAG)]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for tag, pattern in ((INT_TAG, WHOLE), (FLOAT_TAG, NUMBER)):
    whole = re.compile(f"^(?:{pattern.pattern})$")
    _Loader.add_implicit_resolver(tag, whole, list("-+.0123456789"))
_Loader.add_constructor(INT_TAG, _whole)


@dataclass(frozen=True, slots=True)
class YamlFile:
    """What a file says, and where it says it."""

    name: str
    content: Any
    root: yaml.Node | None

    def place(self, path: Sequence[str | int]) -> str:
        """``file:line`` of an entry; of the innermost one that is there."""
        node = self.root
        for step in path:
            inner = _child(node, step)
            if inner is None:
                break
            node = inner
        return f"{self.name}:{node.start_mark.line + 1}" if node else self.name


def read_yaml(path: Path, what: str) -> YamlFile:
    """A user's YAML file.

    Raises:
        BadInput: it cannot be read, is too large, or is not YAML.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise BadInput(f"Cannot read {what} {path}: {reason}; check the path.") from error
    if len(raw) > LARGEST_BYTES:
        raise BadInput(f"{path} is larger than 200 kB, too large for {what}.")
    try:
        return parse_yaml(raw.decode("utf-8-sig"), str(path))
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise BadInput(f"{path}:{line}: not UTF-8 text; save it as UTF-8.") from error


def parse_yaml(text: str, name: str) -> YamlFile:
    """YAML with the name of where it came from.

    Raises:
        BadInput: it is not YAML, or names one key twice.
    """
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        _refuse_repeated(root, name)
        return YamlFile(name, loader.construct_document(root) if root else None, root)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error)
        raise BadInput(f"{name}{line}: not valid YAML: {problem}; correct it.") from error
    except (RecursionError, ValueError, TypeError) as error:
        raise BadInput(f"{name}: not valid YAML: {error}; correct it.") from error


def _refuse_repeated(root: yaml.Node | None, name: str) -> None:
    """YAML would take the last of two equal keys and never say so."""
    waiting, seen = [root], set()
    while waiting:
        node = waiting.pop()
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting += node.value
        if isinstance(node, yaml.MappingNode):
            keys: set[str] = set()
            for key, value in node.value:
                waiting += [key, value]
                if not isinstance(key, yaml.ScalarNode):
                    continue
                if key.value in keys:
                    line = key.start_mark.line + 1
                    raise BadInput(f"{name}:{line}: `{key.value}` stands twice; drop one.")
                keys.add(key.value)


def _child(node: yaml.Node | None, step: str | int) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        return next((v for k, v in node.value if getattr(k, "value", None) == str(step)), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        inner: yaml.Node = node.value[step]
        return inner
    return None
