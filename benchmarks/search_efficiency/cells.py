"""The cells of the two tables: which there are, and how one unit of work fills several of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from benchmarks.search_efficiency.policies import POLICIES
from benchmarks.search_efficiency.policies.policy import Policy, SameMeasurement, Step, play
from benchmarks.search_efficiency.policies.studies import whole_study
from benchmarks.search_efficiency.scoring import curve
from benchmarks.search_efficiency.stand import LaunchS, Stand
from benchmarks.search_efficiency.surface import Surface
from search_spaces import Config

Table = Literal["own rules", "same measurement"]
LAUNCHES_S: tuple[float, ...] = (30.0, 120.0, 215.0)
"""Of the table by the same measurement: a CPU build or a warm small model; the middle; a 70B model
at TP 8 (vLLM issue 19824)."""


@dataclass(frozen=True, slots=True)
class Unit:
    """What one process works out at a time."""

    surface: str
    policy: str
    seed: int


@dataclass(frozen=True, slots=True)
class Cell:
    """One line of the results."""

    unit: Unit
    table: Table
    launch_s: float | None
    """``None``: what launches take on the surface itself."""

    @property
    def key(self) -> tuple[str, str, int, str, float | None]:
        unit = self.unit
        return unit.surface, unit.policy, unit.seed, self.table, self.launch_s


def units(surfaces: Sequence[str], policies: Sequence[str], seeds: int) -> list[Unit]:
    """Surface by surface, so that a process meets runs that it knows."""
    return [
        Unit(surface, policy, seed)
        for surface in surfaces
        for seed in range(seeds)
        for policy in policies
        if seed < (POLICIES[policy].seeds or seeds)
    ]


def cells(unit: Unit) -> list[Cell]:
    """Every line that a unit adds."""
    policy = POLICIES[unit.policy]
    found: list[Cell] = []
    if not policy.variant:
        found.append(Cell(unit, "own rules", None))
    if policy.same_measurement:
        found += [Cell(unit, "same measurement", launch_s) for launch_s in LAUNCHES_S]
    return found


def work_out(surface: Surface, unit: Unit, trials: int) -> list[tuple[Cell, dict[str, Any]]]:
    """Each cell with its figures."""
    policy = POLICIES[unit.policy]
    pays = {cell: _Paid.of(surface, cell, trials) for cell in cells(unit)}
    filled = []
    for together in _by_one_run(policy, list(pays)):
        steps = _steps(surface, policy, unit.seed, [pays[cell] for cell in together], together[0])
        for cell in together:
            paid = pays[cell]
            found = curve(surface, steps, paid.launch_s, paid.budget_s)
            filled.append((cell, {"budget_s": round(paid.budget_s, 3), **found.to_json()}))
    return filled


def _by_one_run(policy: Policy, cells: Sequence[Cell]) -> list[Sequence[Cell]]:
    """A peer does the same whatever a launch costs; the program under test asks, and plans."""
    if policy.search is None:
        return [[cell] for cell in cells]
    own = [cell for cell in cells if cell.table == "own rules" and policy.rules is not None]
    return [some for some in (own, [cell for cell in cells if cell not in own]) if some]


@dataclass(frozen=True, slots=True)
class _Paid:
    """What a launch takes, and for how long the engine may be used."""

    launch_s: LaunchS
    budget_s: float

    @classmethod
    def of(cls, surface: Surface, cell: Cell, trials: int) -> "_Paid":
        """As many trials as asked for, but no more than half of the configs, each a launch."""
        each: Callable[[Config], float] = surface.launch_s
        if cell.launch_s is not None:
            constant_s = cell.launch_s

            def each(config: Config) -> float:
                return constant_s

        number = min(trials, len(surface.configs) // 2)
        return cls(each, number * (each(surface.default) + surface.measured_s))


def _steps(
    surface: Surface, policy: Policy, seed: int, paid: Sequence[_Paid], cell: Cell
) -> list[Step]:
    """Until no budget is left, whatever launches cost."""
    dearest = max(paid, key=lambda p: p.launch_s(surface.default))
    knobs = surface.problem.space.knobs
    live = frozenset(knob.name for knob in knobs if policy.live and knob.turn == "live")
    stand = Stand(surface, seed=seed, launch_s=dearest.launch_s, live=live)
    if policy.search is None:
        return whole_study(stand, policy, seed=seed, budget_s=dearest.budget_s)
    own = policy.rules if cell.table == "own rules" else None
    rules = own(surface) if own else SameMeasurement(surface)
    search = policy.search(surface, seed, own is None)
    return play(
        search, rules, stand, lambda s: all(s.spent_s(p.launch_s) >= p.budget_s for p in paid)
    )
