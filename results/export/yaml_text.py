"""YAML as people write it: keys in the given order, long texts as blocks."""

import math
from typing import Any

import yaml


class _Blocks(yaml.SafeDumper):
    """Texts of several lines are written with ``|``, and nothing refers to another place."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Blocks.add_representer(str, _text)


def dump(*documents: Any) -> str:
    """One document after another."""
    return yaml.dump_all(
        documents, Dumper=_Blocks, sort_keys=False, default_flow_style=False, width=math.inf
    )


def load(text: str) -> Any:
    """The only document of a text."""
    return yaml.safe_load(text)
