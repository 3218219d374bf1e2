"""Objectives by name or by file: the shipped presets, and the user's own study files."""

from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from objectives import Bound, Profile, Quadrant, parse_sla
from objectives.sla import ordered
from tuner.entries import entries
from tuner.errors import BadInput
from tuner.limits import STUDY_NAME
from tuner.study_file import ADAPTER, ObjectiveFile, Setting, WorkloadEntry
from tuner.yaml_file import YamlFile, parse_yaml, read_yaml

__all__ = ["ADAPTER", "Objective", "load", "preset_file", "preset_names", "quadrant_profiles"]
SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """An objective file with everything it extends filled in."""

    profile: Profile
    workload: WorkloadEntry
    folder: Path | None
    """Where a trace named by the workload lies; ``None``: shipped with the program."""
    settings: dict[str, Setting]
    ranges: dict[str, str]
    file: YamlFile = field(compare=False, repr=False)
    """Where all this stands."""


@cache
def preset_names() -> tuple[str, ...]:
    """The shipped objectives, by quadrant."""
    names = [p.name.removesuffix(".yaml") for p in _presets().iterdir() if p.suffix == ".yaml"]
    order = list(Quadrant)
    return tuple(sorted(names, key=lambda n: (order.index(_preset(n).profile.quadrant), n)))


def load(name_or_path: str) -> Objective:
    """The objective of that name, or in that file.

    Raises:
        BadInput: there is none, or its file does not make sense.
    """
    path = Path(name_or_path)
    if path.suffix not in SUFFIXES and "/" not in name_or_path:
        return preset(name_or_path, "--objective", ("all", "or the path of a YAML file"))
    if not STUDY_NAME.fullmatch(path.stem):
        raise BadInput(
            f"--objective {name_or_path!r}: a study file's name must be plain (letters, digits, "
            ". _ + -), because the study is named after it; rename the file."
        )
    return _complete(path.stem, read_yaml(path, "the study file"), path.parent)


def preset(name: str, place: str, more: tuple[str, ...] = ()) -> Objective:
    """The shipped objective of that name.

    Raises:
        BadInput: there is none; says what there is, and what ``more`` would do in its place.
    """
    if name in preset_names():
        return _preset(name)
    known = (*preset_names(), *more)
    near = get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]}?" if near else "."
    raise BadInput(f"{place}: unknown objective {name!r}{hint} There are: {', '.join(known)}.")


@cache
def quadrant_profiles() -> dict[Quadrant, Profile]:
    """The promise that stands for each quadrant."""
    return {quadrant: _preset(quadrant.representative).profile for quadrant in Quadrant}


def promises(profile: Profile) -> dict[Quadrant, tuple[Bound, ...]]:
    """Of every quadrant: the profile's own for its own, else that of what stands for it."""
    return {
        quadrant: profile.sla if quadrant is profile.quadrant else other.sla
        for quadrant, other in quadrant_profiles().items()
    }


def preset_file(name: str) -> Any:
    """A context that gives the path of a shipped trace."""
    return as_file(_presets() / name)


def _presets() -> Any:
    return files("objectives") / "presets"


@cache
def _preset(name: str) -> Objective:
    text = (_presets() / f"{name}.yaml").read_text("utf-8")
    return _complete(name, parse_yaml(text, f"{name}.yaml"), None)


def _complete(name: str, file: YamlFile, folder: Path | None) -> Objective:
    """The file's own entries over those of the preset it extends."""
    own = entries(file)
    base = preset(own.extends, f"{file.place(['extends'])}: extends") if own.extends else None
    quadrant = own.quadrant or (base.profile.quadrant if base else None)
    workload = own.workload or (base.workload if base else None)
    if quadrant is None or workload is None or (own.sla is None and base is None):
        raise BadInput(
            f"{file.name}: `quadrant`, `sla` and `workload` are needed, or `extends: PRESET`."
        )
    sla = base.profile.sla if base and own.sla is None else _bounds(own, file)
    return Objective(
        profile=Profile(name=name, quadrant=quadrant, sla=sla),
        workload=workload,
        folder=folder if own.workload else None,
        settings=own.set,
        ranges=own.range,
        file=file,
    )


def _bounds(own: ObjectiveFile, file: YamlFile) -> tuple[Bound, ...]:
    bounds: list[Bound] = []
    for text, source in (own.sla or {}).items():
        try:
            bounds += parse_sla(text, source=" ".join(source.split()))
        except ValueError as error:
            raise BadInput(f"{file.place(['sla', text])}: {error}") from error
    try:
        return ordered(bounds)
    except ValueError as error:
        raise BadInput(f"{file.place(['sla'])}: {error}") from error
