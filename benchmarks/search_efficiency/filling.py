"""What a process of its own works out: it cannot find what only the package's main module has."""

import time
from functools import cache
from typing import Any

from benchmarks.search_efficiency.cells import Cell, Unit, work_out
from benchmarks.search_efficiency.surface import Surface
from benchmarks.search_efficiency.surfaces import Place, surface_named

Filled = list[tuple[Cell, dict[str, Any]]]


def filled_by(place: Place, trials: int, unit: Unit) -> tuple[Unit, Filled, float]:
    began_s = time.monotonic()
    filled = work_out(_surface(unit.surface, place), unit, trials)
    return unit, filled, time.monotonic() - began_s


@cache
def _surface(name: str, place: Place) -> Surface:
    return surface_named(name, place)
