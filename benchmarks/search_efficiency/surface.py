"""A surface: a finite grid of configs, the truth of each, and an engine that shows it noisily."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from objectives import Workload
from runners import Runner
from search_spaces import Config, SearchSpace, Value
from tuner.problem import Problem

Settings = tuple[Value, ...]
"""Of the searched knobs, in the space's order."""


@dataclass(frozen=True, slots=True)
class Truth:
    """What is true of a config."""

    throughput: float
    """Whatever the surface calls so; higher is better."""
    latency_ms: float
    feasible: bool
    """Whether it keeps the promise."""
    as_good: bool = False
    """Whether its recorded runs cannot be told from the best config's."""

    @property
    def values(self) -> tuple[float, float]:
        return self.throughput, self.latency_ms


@dataclass(frozen=True, kw_only=True)
class Surface:
    """What policies are compared on.

    Settings between those of the grid are served as the nearest, so that policies may search
    ranges as they are used to while the truth stays finite.
    """

    name: str
    about: str
    """Model, GPUs and traffic, for people."""
    problem: Problem
    values: Mapping[str, Sequence[Value]]
    """The grid, by searched knob."""
    goal: Literal["throughput", "latency"]
    """Which of the two decides which config is best."""
    simulated: bool
    """Whether its engine answers any load, and refuses what breaks a rule; else what was not
    measured is not known."""
    launch_s: Callable[[Config], float]
    runner: Callable[[int], Runner]
    """From a seed of its noise."""
    traffic: Callable[[int], Workload]
    """The requests of a peer's own load, from how many it sends."""
    truths: Mapping[Settings, Truth]
    """Of every config that keeps the space's rules."""
    measured_s: float
    """What measuring the default config takes, launching left out."""

    @cached_property
    def grid(self) -> tuple[Config, ...]:
        """Every combination, also those that break a rule."""
        return tuple(combinations(self.problem.space, self.values))

    @cached_property
    def configs(self) -> tuple[Config, ...]:
        """Those of the grid that keep every rule."""
        return tuple(c for c in self.grid if not self.problem.space.broken_rules(c))

    @property
    def launchable(self) -> tuple[Config, ...]:
        """What can be tried by one who knows no rules."""
        return self.grid if self.simulated else self.configs

    @property
    def default(self) -> Config:
        return self.problem.first[0][1]

    def nearest(self, config: Config) -> Config:
        """The config of the grid that stands for it, and keeps the rules if it does."""
        space = self.problem.space
        among = self.grid if space.broken_rules(config) else self.configs
        settings = settings_of(space, config)
        found = min(among, key=lambda other: _apart(settings, settings_of(space, other)))
        return {**config, **found}

    def truth(self, config: Config) -> Truth | None:
        """``None`` of a config that breaks a rule."""
        return self.truths.get(settings_of(self.problem.space, self.nearest(config)))

    @cached_property
    def best(self) -> Truth:
        """The best of those that keep the promise."""
        feasible = [truth for truth in self.truths.values() if truth.feasible]
        if self.goal == "throughput":
            return max(feasible, key=lambda truth: truth.throughput)
        return min(feasible, key=lambda truth: truth.latency_ms)


def combinations(space: SearchSpace, values: Mapping[str, Sequence[Value]]) -> list[Config]:
    """The last knob searched changes fastest."""
    names = list(space.searched)
    products = itertools.product(*(values[name] for name in names))
    return [space.complete(dict(zip(names, settings, strict=True))) for settings in products]


def settings_of(space: SearchSpace, config: Config) -> Settings:
    return tuple(config[name] for name in space.searched)


def _apart(settings: Settings, others: Settings) -> float:
    """In ratios, where both are numbers above 0; what has no ratio must be the same."""
    return sum(_ratio(a, b) for a, b in zip(settings, others, strict=True) if a != b)


def _ratio(a: Value, b: Value) -> float:
    if isinstance(a, str) or isinstance(b, str) or min(a, b) <= 0:
        return math.inf
    return abs(math.log(a / b))
