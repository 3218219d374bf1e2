"""Objectives as files: the shipped presets and the user's own study files, read and checked.

The only place where pydantic meets our dataclasses.
"""

from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, ClassVar, Literal

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError

from objectives import Bound, Profile, Quadrant, parse_sla
from objectives.arrivals import (
    AllAtOnce,
    Arrivals,
    ClosedLoop,
    Constant,
    Fixed,
    Gamma,
    Lengths,
    Lognormal,
    Synthetic,
    Uniform,
)
from objectives.sla import ordered
from tuner.errors import BadInput

LARGEST_FILE_BYTES = 1_000_000
CLOSED: ConfigDict = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True, kw_only=True)
class LengthsEntry:
    """Either ``tokens`` (with ``spread``: uniform down to that share) or a lognormal."""

    __pydantic_config__: ClassVar[ConfigDict] = CLOSED
    tokens: int | None = None
    spread: float | None = None
    median: float | None = None
    p90: float | None = None
    longest: int | None = None

    def lengths(self) -> Lengths:
        if self.tokens is not None and self.median is None:
            return Fixed(self.tokens) if self.spread is None else Uniform(self.tokens, self.spread)
        if self.median is None or self.p90 is None or self.longest is None or self.tokens:
            raise ValueError("lengths need `tokens`, or `median`, `p90` and `longest`.")
        return Lognormal(self.median, self.p90, self.longest)


@dataclass(frozen=True, slots=True, kw_only=True)
class LengthsPair:
    __pydantic_config__: ClassVar[ConfigDict] = CLOSED
    input: LengthsEntry
    output: LengthsEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrivalsEntry:
    """A process of arrivals; without a rate, 70 % of the default config's capacity is offered."""

    __pydantic_config__: ClassVar[ConfigDict] = CLOSED
    process: Literal["poisson", "gamma", "constant", "closed-loop", "all-at-once"] = "poisson"
    request_rate: float | None = None
    cv: float = 1.0
    concurrency: int | None = None

    def arrivals(self) -> Arrivals:
        rate = 1.0 if self.request_rate is None else self.request_rate
        match self.process:
            case "closed-loop":
                if self.concurrency is None:
                    raise ValueError("closed-loop arrivals need `concurrency`.")
                return ClosedLoop(self.concurrency)
            case "all-at-once":
                return AllAtOnce()
            case "constant":
                return Constant(rate)
            case "gamma":
                return Gamma(rate, self.cv)
            case "poisson":
                return Gamma(rate)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadEntry:
    """A trace to replay, or a recipe; ``window`` is (from, to) in seconds of the trace."""

    __pydantic_config__: ClassVar[ConfigDict] = CLOSED
    trace: str | None = None
    window: tuple[float, float] | None = None
    scale_tokens: float = 1.0
    lengths: LengthsPair | None = None
    arrivals: ArrivalsEntry = field(default_factory=ArrivalsEntry)
    prefix_share: float = 0.0
    source: str = "synthetic"

    def recipe(self) -> Synthetic:
        """How to draw the traffic of a workload that names no trace."""
        if self.lengths is None:
            raise ValueError("a workload needs `trace` or `lengths`.")
        return Synthetic(
            lengths=(self.lengths.input.lengths(), self.lengths.output.lengths()),
            arrivals=self.arrivals.arrivals(),
            prefix_share=self.prefix_share,
            source=" ".join(self.source.split()),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectiveFile:
    """A preset or a study file: what is promised, on which traffic, over which knobs."""

    __pydantic_config__: ClassVar[ConfigDict] = CLOSED
    extends: str | None = None
    """The preset whose entries stand where this file has none."""
    quadrant: Quadrant | None = None
    sla: dict[str, str] | None = None
    """Where each number comes from, by bound."""
    workload: WorkloadEntry | None = None
    set: dict[str, bool | int | float | str] = field(default_factory=dict)
    range: dict[str, str] = field(default_factory=dict)
    """``LOW:HIGH`` or ``A,B,C`` by knob."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """An objective file with everything it extends filled in."""

    profile: Profile
    workload: WorkloadEntry
    folder: Path | None
    """Where a trace named by the workload lies; ``None``: shipped with the program."""
    settings: dict[str, bool | int | float | str]
    ranges: dict[str, str]


ADAPTER = TypeAdapter(ObjectiveFile)


def preset_names() -> list[str]:
    """The shipped objectives, by quadrant."""
    order = list(Quadrant)
    found = [
        p.name.removesuffix(".yaml") for p in _presets().iterdir() if p.name.endswith(".yaml")
    ]
    return sorted(found, key=lambda name: (order.index(load(name).profile.quadrant), name))


def load(name_or_path: str) -> Objective:
    """The objective of that name, or in that file.

    Raises:
        BadInput: there is none, or its file does not make sense.
    """
    path = Path(name_or_path)
    if path.suffix in {".yaml", ".yml"} or "/" in name_or_path:
        return _from_file(path)
    return _preset(name_or_path)


@cache
def quadrant_profiles() -> dict[Quadrant, Profile]:
    """The promise that stands for each quadrant."""
    return {quadrant: _preset(quadrant.representative).profile for quadrant in Quadrant}


def _presets() -> Any:
    return files("objectives") / "presets"


def preset_file(name: str) -> Any:
    """A context that gives the path of a shipped trace."""
    return as_file(_presets() / name)


@cache
def _preset(name: str) -> Objective:
    source = _presets() / f"{name}.yaml"
    if not name.isidentifier() or not source.is_file():
        known = [p.name.removesuffix(".yaml") for p in _presets().iterdir()]
        known = [*sorted(n for n in known if "." not in n), "all"]
        near = get_close_matches(name, known, n=1)
        raise BadInput(
            f"Unknown objective {name!r}"
            + (f"; did you mean {near[0]}?" if near else ".")
            + f" There are: {', '.join(known)}, or the path of a YAML file."
        )
    return _complete(name, _parse(source.read_text("utf-8"), f"{name}.yaml"), None)


def _from_file(path: Path) -> Objective:
    try:
        if path.stat().st_size > LARGEST_FILE_BYTES:
            raise BadInput(f"{path} is too large for a study file (over 1 MB).")
        text = path.read_text("utf-8")
    except OSError as error:
        raise BadInput(f"Cannot read the objective {path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not a text file (UTF-8).") from error
    return _complete(path.stem, _parse(text, str(path)), path)


def _parse(text: str, place: str) -> ObjectiveFile:
    try:
        return ADAPTER.validate_python(yaml.safe_load(text) or {})
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error)
        raise BadInput(f"{place}{line}: not valid YAML: {problem}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        known = ", ".join(sorted(ObjectiveFile.__dataclass_fields__))
        hint = f" (known: {known})" if first["type"] == "unexpected_keyword_argument" else ""
        raise BadInput(f"{place}: {where}: {first['msg']}{hint}.") from error
    except (RecursionError, ValueError) as error:
        raise BadInput(f"{place}: cannot be read as YAML: {error}.") from error


def _complete(name: str, entry: ObjectiveFile, path: Path | None) -> Objective:
    base = _preset(entry.extends) if entry.extends else None
    place = str(path or name)
    quadrant = entry.quadrant or (base.profile.quadrant if base else None)
    workload = entry.workload or (base.workload if base else None)
    if quadrant is None or workload is None or (entry.sla is None and base is None):
        raise BadInput(
            f"{place}: `quadrant`, `sla` and `workload` are needed, or `extends: PRESET`."
        )
    try:
        sla = _bounds(entry.sla) if entry.sla is not None else base.profile.sla if base else ()
        if workload.trace is None:
            workload.recipe()
    except ValueError as error:
        raise BadInput(f"{place}: {error}") from error
    folder = path.parent if path and entry.workload else base.folder if base else None
    return Objective(
        profile=Profile(name=name, quadrant=quadrant, sla=sla),
        workload=workload,
        folder=folder,
        settings={**(base.settings if base else {}), **entry.set},
        ranges={**(base.ranges if base else {}), **entry.range},
    )


def _bounds(entries: dict[str, str]) -> tuple[Bound, ...]:
    bounds = [
        bound for text, source in entries.items() for bound in parse_sla(text, source=source)
    ]
    return ordered(bounds)
