"""What a target is: how it is rendered, held against a closed schema, and read back."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from results.export.serving import Serving
from search_spaces import Config, Value

VLLM_VERSION = "0.32.0"
IMAGE = f"vllm/vllm-openai:v{VLLM_VERSION}"

Files = Mapping[str, str]
"""Texts by path inside the folder of the export."""


class CannotExpress(ValueError):
    """The target has no way to say a setting without which the rest would mean something else."""

    def __init__(self, knob: str, why: str) -> None:
        super().__init__(f"`{knob}` cannot be said there: {why}.")
        self.knob = knob


class NotInstalled(Exception):
    """The target's own parser is not here; says what brings it."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """A setting that the target lacks, and how it can be kept all the same."""

    knob: str
    value: Value
    keep: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """Files without their headers; what is not in them, and what a reader must know."""

    files: Files
    dropped: tuple[Dropped, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Parser:
    """The target's own parser or schema; complains by returning sentences.

    Raises:
        NotInstalled: from ``complaints``.
    """

    name: str
    complaints: Callable[[Files], list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One production server's format.

    Args:
        engine: whose settings the files hold; another engine than vLLM was not measured.
        version: of ``engine``, whose arguments the renderer knows.
        source: where the closed schema's keys and types are from.
        complaints: what is not in the closed schema, or not of its type.
        read: vLLM's settings as the server will hand them on; ``None`` for other engines.
        config_text: the vLLM config file among the files, where there is one.
        subcommand: vLLM's, that the settings are for.
    """

    name: str
    about: str
    source: str
    render: Callable[[Serving], Rendered]
    complaints: Callable[[Files], list[str]]
    engine: str = "vLLM"
    version: str = VLLM_VERSION
    read: Callable[[Files], dict[str, Any]] | None = None
    config_text: Callable[[Files], str] | None = None
    subcommand: str = "serve"
    parsers: tuple[Parser, ...] = field(default=())


def ours_dropped(ours: Config, keep: str | None = None) -> tuple[Dropped, ...]:
    """The settings of our scheduler class, which the stock engine does not have."""
    how = keep or "serve with our scheduler class, as the study did"
    return tuple(Dropped(name, value, how) for name, value in ours.items())
