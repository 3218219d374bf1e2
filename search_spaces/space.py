"""Knobs, the rules between them, and the space they span."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from difflib import get_close_matches
from typing import Any, Literal, Protocol

Value = bool | int | float | str
Config = Mapping[str, Value]
"""One setting of every knob, keyed by the engine's own argument names."""


class Suggester(Protocol):
    """The part of ``optuna.Trial`` a space needs; ``optuna.trial.FixedTrial`` has it too."""

    def suggest_int(self, name: str, low: int, high: int, *, step: int, log: bool) -> int: ...
    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None
    ) -> float: ...
    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Int:
    """Whole numbers from ``low`` to ``high``, both included."""

    low: int
    high: int
    step: int = 1
    log: bool = False

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError(f"`low <= high` must hold, but got low={self.low}, high={self.high}.")
        if self.step < 1 or (self.high - self.low) % self.step:
            raise ValueError(f"`step` must divide {self.high - self.low}, but got {self.step}.")
        if self.log and (self.low < 1 or self.step > 1):
            raise ValueError(
                "`low >= 1` and `step = 1` must hold of a log range, "
                f"but got low={self.low}, step={self.step}."
            )

    def suggest(self, trial: Suggester, name: str) -> int:
        return trial.suggest_int(name, self.low, self.high, step=self.step, log=self.log)

    def nearest(self, value: Value) -> Value:
        steps = round((float(value) - self.low) / self.step)
        return max(self.low, min(self.high, self.low + steps * self.step))

    @property
    def size(self) -> int:
        """How many values there are."""
        return (self.high - self.low) // self.step + 1

    def __str__(self) -> str:
        steps = f" in steps of {self.step}" if self.step > 1 else ""
        return f"{self.low} to {self.high}{steps}" + (" (log)" if self.log else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Float:
    """Numbers from ``low`` to ``high`` in multiples of ``step``."""

    low: float
    high: float
    step: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low <= self.high):
            raise ValueError(f"`low <= high` must hold, but got low={self.low}, high={self.high}.")
        if not self.step > 0:
            raise ValueError(f"`step > 0` must hold, but got {self.step}.")
        # In decimal, as Optuna does: it would warn and lower `high`.
        span = Decimal(str(self.high)) - Decimal(str(self.low))
        if span % Decimal(str(self.step)):
            raise ValueError(f"`step` must divide {span}, but got {self.step}.")

    def suggest(self, trial: Suggester, name: str) -> float:
        return round(trial.suggest_float(name, self.low, self.high, step=self.step), 6)

    def nearest(self, value: Value) -> Value:
        steps = round((float(value) - self.low) / self.step)
        return round(max(self.low, min(self.high, self.low + steps * self.step)), 6)

    @property
    def size(self) -> int:
        """How many values there are."""
        return round((self.high - self.low) / self.step) + 1

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g} in steps of {self.step:g}"


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few values.

    Args:
        prefix: any longer text that begins so is a value too; empty: none.
    """

    values: tuple[Value, ...]
    prefix: str = ""

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError("A choice needs at least one value.")
        if len(set(map(repr, self.values))) < len(self.values):
            raise ValueError(f"A choice names each value once, but got {list(self.values)}.")

    def suggest(self, trial: Suggester, name: str) -> Value:
        value: Value = trial.suggest_categorical(name, self.values)
        return value

    def nearest(self, value: Value) -> Value:
        known = self.known(value)
        if known is not None:
            return known
        numbers = [v for v in self.values if not isinstance(v, str)]
        if isinstance(value, str) or not numbers:
            return self.values[0]
        return min(numbers, key=lambda v: abs(v - value))

    def known(self, value: Value) -> Value | None:
        """The value as spelled among the choices; 1 is 1.0 but not ``True``."""
        for known in self.values:
            if known == value and isinstance(known, bool) == isinstance(value, bool):
                return known
        if self.prefix and isinstance(value, str) and value.startswith(self.prefix):
            return None if value == self.prefix else value
        return None

    @property
    def size(self) -> int:
        """How many values there are, those that only a prefix names left out."""
        return len(self.values)

    def __str__(self) -> str:
        more = [f"{self.prefix}..."] if self.prefix else []
        return ", ".join([*map(str, self.values), *more])


Domain = Int | Float | Choice


@dataclass(frozen=True, slots=True, kw_only=True)
class Knob:
    """One setting of the engine, what it costs to turn and whose it is."""

    name: str
    default: Value
    domain: Domain
    """Where it may vary; where it does vary is the space's business."""
    about: str
    turn: Literal["launch", "live"] = "launch"
    """Whether turning it needs a new launch or can be done while the engine runs."""
    owner: Literal["engine", "ours"] = "engine"
    """``ours``: exists only with our scheduler class, not in the stock engine."""
    lossy: bool = False
    """Whether it may change what the model answers."""
    limits: Domain | None = None
    """The widest range that ``--set`` and ``--range`` may ask for; the domain when ``None``."""

    def check(self, value: Value) -> Value:
        """The value as this knob's type.

        Raises:
            ValueError: wrong type, or outside the limits.
        """
        limits = self.limits or self.domain
        if isinstance(limits, Choice):
            known = limits.known(value)
            if known is None:
                raise ValueError(f"`{self.name}` must be one of {limits}, but got {value}.")
            return known
        if isinstance(value, (bool, str)) or not math.isfinite(value):
            raise ValueError(f"`{self.name}` must be a number, but got {value}.")
        if isinstance(limits, Int) and value != int(value):
            raise ValueError(f"`{self.name}` must be a whole number, but got {value}.")
        if not limits.low <= value <= limits.high:
            raise ValueError(
                f"`{limits.low:g} <= {self.name} <= {limits.high:g}` must hold, but got {value:g}."
            )
        return int(value) if isinstance(limits, Int) else float(value)

    def check_range(self, domain: Domain) -> Domain:
        """The domain in this knob's type.

        Raises:
            ValueError: another kind of domain, or outside the limits.
        """
        limits = self.limits or self.domain
        if isinstance(domain, Choice):
            return Choice(tuple(self.check(value) for value in domain.values))
        if isinstance(limits, Choice):
            raise ValueError(f"`{self.name}` must be one of {limits}, but got {domain}.")
        if isinstance(limits, Int) and isinstance(domain, Float):
            raise ValueError(f"`{self.name}` must range over whole numbers, but got {domain}.")
        for end in (domain.low, domain.high):
            self.check(end)
        return domain


@dataclass(frozen=True, slots=True)
class Rule:
    """A config the engine would refuse or could not start, caught before paying for a launch."""

    reads: str
    reason: str
    holds: Callable[[Config], bool]
    mend: Callable[[Config], str] = lambda config: "change a --set"
    """From a config that breaks it to what the user may do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSpace:
    """Every knob of an engine; those in ``searched`` vary, the others keep ``fixed``."""

    engine: str
    knobs: tuple[Knob, ...]
    searched: Mapping[str, Domain]
    fixed: Config
    derive: Callable[[Config], Config]
    """What follows from the other settings, such as ``data_parallel_size``."""
    rules: tuple[Rule, ...] = ()

    def __post_init__(self) -> None:
        names = [knob.name for knob in self.knobs]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"The {self.engine} space names {repeated} more than once.")
        both = self.searched.keys() & self.fixed.keys()
        if both or set(names) != self.searched.keys() | self.fixed.keys():
            raise ValueError(f"Every knob of {self.engine} must be searched or fixed, not both.")

    def knob(self, name: str) -> Knob:
        """The knob of that name, spelt with ``_`` or ``-``.

        Raises:
            ValueError: there is none; says which are near.
        """
        plain = name.strip().removeprefix("--").replace("-", "_")
        for knob in self.knobs:
            if knob.name == plain:
                return knob
        names = [knob.name for knob in self.knobs]
        near = get_close_matches(plain, names, n=3, cutoff=0.4) or names
        raise ValueError(f"Unknown {self.engine} knob {name!r}; nearest: {', '.join(near)}.")

    def fix(self, name: str, value: Value) -> "SearchSpace":
        """The space with one knob held at a value."""
        knob = self.knob(name)
        searched = {key: domain for key, domain in self.searched.items() if key != knob.name}
        return replace(self, searched=searched, fixed={**self.fixed, knob.name: knob.check(value)})

    def free(self, name: str, domain: Domain) -> "SearchSpace":
        """The space with one knob searched over a domain, which must lie within its limits."""
        knob = self.knob(name)
        domain = knob.check_range(domain)
        fixed = {key: value for key, value in self.fixed.items() if key != knob.name}
        return replace(self, searched={**self.searched, knob.name: domain}, fixed=fixed)

    def suggest(self, trial: Suggester) -> Config:
        """A config whose searched knobs the trial chooses."""
        return self.complete(
            {name: domain.suggest(trial, name) for name, domain in self.searched.items()}
        )

    def complete(self, settings: Config) -> Config:
        """The full config: settings of searched knobs, the fixed ones, and what follows."""
        chosen = {name: settings[name] for name in self.searched}
        config = {**self.fixed, **chosen}
        config = {knob.name: config[knob.name] for knob in self.knobs}
        return {**config, **self.derive(config)}

    def default(self) -> Config:
        """The engine's own settings, moved into the searched range where it leaves them out."""
        return self.within({})

    def within(self, settings: Config) -> Config:
        """The full config nearest to the settings; knobs not named take the engine's default."""
        wanted = {knob.name: settings.get(knob.name, knob.default) for knob in self.knobs}
        return self.complete(
            {name: domain.nearest(wanted[name]) for name, domain in self.searched.items()}
        )

    def settings(self, config: Config) -> dict[str, Value]:
        """The searched knobs of a config: what the optimiser knows as parameters."""
        return {name: config[name] for name in self.searched}

    def departures(self, config: Config) -> tuple[str, ...]:
        """The knobs whose setting is not the engine's default."""
        return tuple(k.name for k in self.knobs if config[k.name] != k.default)

    def turned(self, config: Config) -> tuple[str, ...]:
        """The searched knobs whose setting is not the default config's: what a study chose."""
        default = self.default()
        return tuple(name for name in self.searched if config[name] != default[name])

    def needs_ours(self, config: Config) -> bool:
        """Whether the stock engine cannot be started with this config."""
        return any(k.owner == "ours" and config[k.name] != k.default for k in self.knobs)

    def is_lossy(self, config: Config) -> bool:
        """Whether the config may change what the model answers."""
        return any(k.lossy and config[k.name] != k.default for k in self.knobs)

    @property
    def may_be_lossy(self) -> bool:
        """Whether any of its configs is."""
        lossy = [knob for knob in self.knobs if knob.lossy]
        return any(k.name in self.searched or self.fixed[k.name] != k.default for k in lossy)

    def broken_rules(self, config: Config) -> list[Rule]:
        return [rule for rule in self.rules if not rule.holds(config)]
