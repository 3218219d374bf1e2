"""How good what a policy tried and recommends is in truth, over the engine seconds it spent."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from typing import Any

from benchmarks.search_efficiency.policies.policy import Step
from benchmarks.search_efficiency.stand import LaunchS
from benchmarks.search_efficiency.surface import Surface, Truth
from search_spaces import Config

Point = tuple[float, float]
"""(throughput, latency in ms)."""
REFERENCE_THROUGHPUT, REFERENCE_LATENCY = 0.5, 1.5
"""Of the default config's: what is worse adds nothing to the hypervolume."""
DIGITS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """After each trial: engine seconds spent, and how far that has led."""

    spent_s: list[float]
    regret: list[float]
    hypervolume: list[float]
    launches: int
    launching_s: float
    """Of all that was spent."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def curve(surface: Surface, steps: Sequence[Step], launch_s: LaunchS, budget_s: float) -> Curve:
    """A run's steps, as they would have been paid for had launches taken so long.

    Those of them that were over when the budget was.
    """
    costs = accumulate(step.charge.cost_s(launch_s) for step in steps)
    spent = [cost_s for cost_s in costs if cost_s <= budget_s]
    steps = steps[: len(spent)]
    whole = hypervolume(feasible(surface.truths.values()), reference(surface))
    found: list[Point] = []
    volumes = []
    for step in steps:
        truth = surface.truth(step.charge.config)
        new = feasible([truth] if truth and not step.charge.failed else [])
        if new and new[0] not in found:
            found.append(new[0])
        volumes.append(hypervolume(found, reference(surface)) / whole)
    launches = [step.charge.launches * launch_s(step.charge.config) for step in steps]
    return Curve(
        spent_s=_rounded(spent),
        regret=_rounded(regret(surface, step.recommended) for step in steps),
        hypervolume=_rounded(volumes),
        launches=sum(step.charge.launches for step in steps),
        launching_s=round(sum(launches), DIGITS),
    )


def regret(surface: Surface, config: Config | None) -> float:
    """1 - what the config serves over what the best serves; 1 if it breaks the promise."""
    truth = surface.truth(config) if config is not None else None
    if truth is None or not truth.feasible:
        return 1.0
    if truth.as_good:
        return 0.0
    best = surface.best
    if surface.goal == "throughput":
        return 1 - truth.throughput / best.throughput
    return 1 - best.latency_ms / truth.latency_ms


def reference(surface: Surface) -> Point:
    """Half the default's throughput and 1.5 times its latency.

    Where the default breaks the promise, of the worst of each among the configs that keep it.
    """
    default = surface.truth(surface.default)
    points = feasible([default] if default else []) or feasible(surface.truths.values())
    return (
        REFERENCE_THROUGHPUT * min(throughput for throughput, _ in points),
        REFERENCE_LATENCY * max(latency_ms for _, latency_ms in points),
    )


def feasible(truths: Iterable[Truth]) -> list[Point]:
    return [truth.values for truth in truths if truth.feasible]


def hypervolume(points: Iterable[Point], at: Point) -> float:
    """The area between the points and the reference: throughput up, latency down."""
    area, lowest = 0.0, at[0]
    # From the lowest latency on: each adds what its throughput exceeds those before it by.
    for throughput, latency_ms in sorted(points, key=lambda point: (point[1], -point[0])):
        if throughput > lowest and latency_ms < at[1]:
            area += (throughput - lowest) * (at[1] - latency_ms)
            lowest = throughput
    return area


def at_share(curve_of: Sequence[float], spent_s: Sequence[float], until_s: float) -> float | None:
    """What the last trial that was over by then had led to; ``None`` before the first."""
    over = [value for value, at_s in zip(curve_of, spent_s, strict=True) if at_s <= until_s]
    return over[-1] if over else None


def _rounded(values: Iterable[float]) -> list[float]:
    return [round(value, DIGITS) for value in values]
