"""Models and GPUs known by name; a folder with a ``config.json`` is a model too."""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from runners.simulated.config_json import read_model
from search_spaces.deployment import Gpu, Model

_Entries = Mapping[str, Mapping[str, Any]]


@cache
def models() -> tuple[Model, ...]:
    """Every model known by name."""
    return tuple(Model(name=name, **it["config"]) for name, it in _entries("models.yaml").items())


@cache
def gpus() -> tuple[Gpu, ...]:
    """Every GPU known by name."""
    return tuple(Gpu(name=name, **it["figures"]) for name, it in _entries("gpus.yaml").items())


def model(name_or_dir: str) -> Model:
    """A model by hub id, alias or folder.

    A folder goes before the names where a path is written: with a ``/`` in it, or a ``.``, ``/``
    or ``~`` in front.

    Raises:
        ValueError: nothing of that name, or a folder whose ``config.json`` is of no use.
    """
    if name_or_dir.startswith((".", "/", "~")) or ("/" in name_or_dir and _is_dir(name_or_dir)):
        return _read(name_or_dir)
    known = _names("models.yaml").get(_plain(name_or_dir))
    if known is None and _is_dir(name_or_dir, needs="config.json"):
        return _read(name_or_dir)
    if known is None:
        raise ValueError(f"{_unknown('model', name_or_dir, 'models.yaml')}; or give its folder.")
    return next(m for m in models() if m.name == known)


def gpu(name: str) -> Gpu:
    """A GPU by name, by alias, or as its driver spells it.

    Raises:
        ValueError: there is none of that name; says which are near.
    """
    known = _names("gpus.yaml").get(_plain(name))
    if known is None:
        raise ValueError(f"{_unknown('GPU', name, 'gpus.yaml')}.")
    return next(g for g in gpus() if g.name == known)


def _is_dir(path: str, needs: str = "") -> bool:
    try:
        folder = Path(path).expanduser()
        return path.strip() != "" and folder.is_dir() and (folder / needs).exists()
    except (OSError, RuntimeError):  # too long for a path; a home that nobody has
        return False


def _read(path: str) -> Model:
    if not _is_dir(path):
        raise ValueError(f"There is no folder {_shown(path)}.")
    return read_model(Path(path).expanduser(), path)


@cache
def _entries(file: str) -> _Entries:
    text = (files("runners.simulated") / file).read_text(encoding="utf-8")
    entries: _Entries = yaml.safe_load(text)
    return entries


@cache
def _names(file: str) -> Mapping[str, str]:
    """From every spelling to the name, both with and without the organisation before a ``/``."""
    names: dict[str, str] = {}
    for name, it in _entries(file).items():
        for spelling in map(_plain, (name, *it.get("aliases", ()))):
            for form in (spelling, spelling.rpartition("/")[2]):
                if names.setdefault(form, name) != name:
                    raise ValueError(f"{file}: {form!r} is both {names[form]} and {name}.")
    return names


def _plain(name: str) -> str:
    """A name as it is compared: ``NVIDIA H100 PCIe`` and ``nvidia-h100-pcie`` are the same."""
    return re.sub(r"[\s_:]+", "-", name.strip().casefold())


def _unknown(what: str, name: str, file: str) -> str:
    names = _names(file)
    forms = get_close_matches(_plain(name)[:80], names, n=6, cutoff=0.4)
    near = list(dict.fromkeys(names[form] for form in forms))[:3]
    shown = f"nearest: {', '.join(near)}" if near else f"known: {', '.join(_entries(file))}"
    return f"Unknown {what} {_shown(name)}; {shown}"


def _shown(name: str) -> str:
    return repr(" ".join(name.split())[:80])
