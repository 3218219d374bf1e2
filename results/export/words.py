"""vLLM's arguments as words of a command line, and read back from them.

A nested value is written with dots (``--speculative-config.method=ngram``): JSON loses its quotes
where a shell reads the words again, as KServe's does.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import yaml

from results.export.serving import Settings
from results.export.target import CannotExpress

PLAIN = re.compile(r"[A-Za-z0-9_./:=,+@-]+")
"""What no shell, no ``eval`` and no templating reads in another way."""


def words(settings: Settings) -> list[str]:
    """What follows ``vllm serve``: the model, then one word per setting."""
    rest = {name: value for name, value in settings.items() if name != "model"}
    model = [str(settings["model"])] if "model" in settings else []
    return [*model, *(word for name, value in rest.items() for word in _words(name, value))]


def plain_words(settings: Settings) -> list[str]:
    """The same where a shell splits them again.

    Raises:
        CannotExpress: a word that a shell would read in another way.
    """
    for name, value in settings.items():
        for word in words({name: value}):
            if not PLAIN.fullmatch(word):
                raise CannotExpress(name, f"{word!r} would not survive a shell")
    return words(settings)


def settings_of(given: Iterable[str]) -> dict[str, Any]:
    """What vLLM makes of the words, types guessed as YAML would."""
    settings: dict[str, Any] = {}
    for word in given:
        if not word.startswith("--"):
            settings["model"] = word
            continue
        name, equals, text = word.removeprefix("--").partition("=")
        path = name.split(".")
        key = path[0].replace("-", "_")
        if not equals:
            settings |= {key.removeprefix("no_"): not key.startswith("no_")}
        elif len(path) > 1:
            settings.setdefault(key, {})[path[1]] = _read(text)
        else:
            settings[key] = text if key == "model" else _read(text)
    return settings


def settings_of_file(text: str) -> dict[str, Any]:
    """What ``vllm serve --config`` makes of a file: it drops a value of ``false``."""
    settings: dict[str, Any] = {}
    for name, value in yaml.safe_load(text).items():
        key = name.replace("-", "_")
        if value is True:
            settings |= {key.removeprefix("no_"): not key.startswith("no_")}
        elif value is not False:
            settings[key] = value
    return settings


def _words(name: str, value: Any) -> Iterator[str]:
    flag = name.replace("_", "-")
    if isinstance(value, bool):
        yield f"--{flag}" if value else f"--no-{flag}"
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield f"--{flag}.{key}={inner if isinstance(inner, str) else json.dumps(inner)}"
    else:
        yield f"--{flag}={value}"


def _read(text: str) -> Any:
    """A number where it is one."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, (int, float)) else text
