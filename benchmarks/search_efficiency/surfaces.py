"""Every surface by name."""

from dataclasses import dataclass
from pathlib import Path

from benchmarks.search_efficiency import recorded
from benchmarks.search_efficiency.published import SOURCES, published
from benchmarks.search_efficiency.surface import Surface
from benchmarks.search_efficiency.twins import TWINS, EachOf, twin_surface


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where surfaces are read from, and kept."""

    cache: Path
    data: Path | None = None
    """The folder of the whole collection of published runs; ``None``: the excerpt."""


def surface_named(name: str, place: Place, each_of: EachOf = map) -> Surface:
    if name in TWINS:
        return twin_surface(name, place.cache, each_of)
    if name == recorded.NAME:
        return recorded.recorded()
    return published(name, place.data)


NAMES = (*SOURCES, *TWINS, *((recorded.NAME,) if recorded.FILE.exists() else ()))
"""The recorded one where there is a recording."""
