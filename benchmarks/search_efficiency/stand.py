"""The stand that a policy works at: a surface's engine, and what its use has cost so far."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from benchmarks.search_efficiency.surface import Surface
from objectives import Load, Measurement
from runners import Engine, EngineError, FailureKind
from search_spaces import Config

REFUSAL_S = 10.0
"""vLLM's imports, after which it reads its arguments."""
LaunchS = Callable[[Config], float]


@dataclass(slots=True)
class Charge:
    """What trying one config has cost."""

    config: Config
    launches: int = 0
    """Paid in full: 0 where a running engine was retuned, or its arguments were refused."""
    other_s: float = 0.0
    """Engine seconds besides: under load, idle while a client starts, until refused."""
    failed: bool = False

    def cost_s(self, launch_s: LaunchS) -> float:
        """Engine seconds, where a launch takes so long."""
        return self.launches * launch_s(self.config) + self.other_s


class Stand:
    """A runner that keeps account.

    Args:
        launch_s: what a launch takes here; afterwards the charges may be added up for others.
        live: knobs turned on the running engine where nothing else has changed; without any,
            every trial is a launch. A retuned engine performs as if launched so: that it has
            reserved KV cache for the tops of its ranges is left out.
    """

    def __init__(
        self,
        surface: Surface,
        *,
        seed: int,
        launch_s: LaunchS,
        live: frozenset[str] = frozenset(),
    ) -> None:
        self.surface = surface
        self.charges: list[Charge] = []
        self._runner = surface.runner(seed)
        self._launch_s, self._live = launch_s, live
        self._running: Config | None = None
        self.description = self._runner.description

    @contextmanager
    def launch(self, config: Config) -> Iterator["ChargedEngine"]:
        held = {name: value for name, value in config.items() if name not in self._live}
        fresh = not self._live or held != self._running
        self._running = None
        charge = Charge(config)
        self.charges.append(charge)
        with ExitStack() as leave:
            try:
                nearest = self.surface.nearest(config)
                engine = leave.enter_context(self._runner.launch(nearest))
            except EngineError as error:
                _charge_failure(charge, error)
                error.engine_s = charge.cost_s(self._launch_s)
                raise
            charge.launches = int(fresh)
            yield ChargedEngine(engine, charge, self._launch_s, fresh)
        self._running = held

    def spent_s(self, launch_s: LaunchS) -> float:
        """Engine seconds so far, had each launch taken so long."""
        return sum(charge.cost_s(launch_s) for charge in self.charges)


@dataclass(slots=True)
class ChargedEngine:
    """A launched engine whose time is charged for."""

    engine: Engine
    charge: Charge
    launch_s: LaunchS
    fresh: bool

    @property
    def age_s(self) -> float:
        return self.charge.cost_s(self.launch_s)

    def measure(self, load: Load) -> Measurement:
        before_s = self.engine.age_s
        found = self.engine.measure(load)
        self.charge.other_s += self.engine.age_s - before_s
        return found

    def measure_within(self, load: Load, seconds: float) -> Measurement:
        """For a client that stops the clock itself: charged that time, however long it took."""
        found = self.engine.measure(load)
        self.charge.other_s += seconds
        return found

    def idle(self, seconds: float) -> None:
        """Let it wait for its client."""
        self.charge.other_s += seconds


def _charge_failure(charge: Charge, error: EngineError) -> None:
    charge.failed = True
    if error.failure.kind is FailureKind.REFUSED:
        charge.other_s = REFUSAL_S
    else:
        charge.launches = 1
