"""The flags of the installed vLLM, from its own help, and our settings written as them."""

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from importlib.resources import files
from typing import Literal

from runners.vllm.command import ask
from search_spaces import Value
from search_spaces.vllm_speculation import speculation

SNAPSHOT = "flags_0_32.json"
UNSET = {"kv_cache_dtype": "auto", "quantization": "none", "speculative_config": "none"}
"""Values that stand for the flag's absence."""

FLAG_LINE = re.compile(r"  (?P<spelled>-\S.*?)(?:  +\S.*)?")
NAME = re.compile(r"(?:^|, )--(?P<name>[a-z0-9][\w.-]*)(?: (?P<value>.*?))?(?=, -|$)")
DEFAULT = re.compile(r"\(default: (?P<text>.*)\)$")


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag of ``vllm serve``; ``name`` has underscores, as in our configs.

    Args:
        negatable: whether there is a ``--no-`` form; a switch without one can only be set.
        default: as the help writes it.
    """

    name: str
    kind: Literal["switch", "value", "list"]
    negatable: bool = False
    choices: tuple[str, ...] = ()
    default: str = ""


Flags = Mapping[str, Flag]
"""By every name that a flag goes by; ``Flag.name`` is the first of them."""


def installed_flags(command: Sequence[str], environ: Mapping[str, str] = os.environ) -> Flags:
    """What ``vllm serve`` knows here.

    Raises:
        ValueError: the command cannot be asked; ``bundled_flags`` may do instead.
    """
    flags = parse_help(ask((*command, "--help=all"), environ))
    if not flags:
        raise ValueError(f"`{' '.join(command)} --help=all` must list flags, but lists none.")
    return flags


def bundled_flags() -> Flags:
    """Those of vLLM 0.32.0, for a command that cannot be asked."""
    entries = json.loads((files("runners.vllm") / SNAPSHOT).read_text(encoding="utf-8"))
    flags = {
        name: Flag(**{**entry, "choices": tuple(entry["choices"])})
        for name, entry in entries["flags"].items()
    }
    return flags | {alias: flags[name] for alias, name in entries["aliases"].items()}


def snapshot(flags: Flags) -> str:
    """The text of the bundled file."""
    own = {name: asdict(flag) for name, flag in sorted(flags.items()) if name == flag.name}
    aliases = {name: flag.name for name, flag in sorted(flags.items()) if name != flag.name}
    return json.dumps({"flags": own, "aliases": aliases}, indent=1) + "\n"


def parse_help(text: str) -> Flags:
    """Flags by name from argparse's help; what is not understood is left out."""
    flags: dict[str, Flag] = {}
    for spelled, about in _entries(text):
        forms = [
            (match["name"].replace("-", "_"), match["value"]) for match in NAME.finditer(spelled)
        ]
        names = [name for name, _ in forms]
        positive = [name for name in names if f"no_{name}" in names] or names
        if positive and positive[0] != "help":
            flag = _flag(positive[0], forms[0][1] or "", about, negatable=positive is not names)
            flags |= dict.fromkeys(positive, flag)
    return flags


def unknown(names: Iterable[str], flags: Flags) -> str | None:
    """Which names are no flags of this vLLM, with the nearest that are; ``None``: all are."""
    strangers = [name for name in names if name not in flags]
    if not strangers:
        return None
    near = {name: get_close_matches(name, flags, n=1) for name in strangers}
    described = (f"`{name}`" + (f" (`{near[name][0]}`?)" if near[name] else "") for name in near)
    return (
        f"The installed vLLM has no setting {', '.join(described)}: see `vllm serve --help=all`."
    )


def to_arguments(settings: Mapping[str, Value], flags: Flags) -> list[str]:
    """Our settings as arguments of ``vllm serve``; each is one word, so no value becomes a flag.

    Raises:
        ValueError: a setting that this vLLM does not have, or does not have that way.
    """
    if complaint := unknown(settings, flags):
        raise ValueError(complaint)
    return [word for name, value in settings.items() for word in _words(flags[name], name, value)]


def _words(flag: Flag, name: str, value: Value) -> list[str]:
    dashed = name.replace("_", "-")
    if value == UNSET.get(flag.name):
        return []
    if flag.name == "speculative_config":
        return [f"--{dashed}={json.dumps(speculation(str(value)), separators=(',', ':'))}"]
    if flag.kind == "switch":
        return _switch(flag, dashed, value)
    if isinstance(value, bool):
        raise ValueError(f"`{name}` must have a value of its own, but got {value}.")
    return [f"--{dashed}={value}"]


def _switch(flag: Flag, dashed: str, value: Value) -> list[str]:
    if not isinstance(value, bool):
        raise ValueError(f"`{flag.name}` must be true or false, but got {value!r}.")
    if value:
        return [f"--{dashed}"]
    if flag.negatable:
        return [f"--no-{dashed}"]
    if flag.default == "False":
        return []
    raise ValueError(f"`{flag.name}` can only be switched on in this vLLM, but got False.")


def _entries(text: str) -> Iterator[tuple[str, str]]:
    """(how a flag is spelled, what is said of it), line breaks taken out."""
    spelled, about = "", ""
    for line in text.splitlines():
        head = FLAG_LINE.fullmatch(line)
        if head:
            if spelled:
                yield spelled, about.strip()
            spelled, about = head["spelled"], line[head.end("spelled") :]
        elif line.startswith(" " * 8):
            about += f" {line.strip()}"
        elif spelled:
            yield spelled, about.strip()
            spelled, about = "", ""
    if spelled:
        yield spelled, about.strip()


def _flag(name: str, value: str, about: str, *, negatable: bool) -> Flag:
    choices = re.match(r"\{([^}]*)\}", value)
    default = DEFAULT.search(about)
    return Flag(
        name,
        kind="list" if value.endswith("...]") else "value" if value else "switch",
        negatable=negatable,
        choices=tuple(choices[1].split(",")) if choices else (),
        default=default["text"] if default else "",
    )
