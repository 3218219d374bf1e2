"""A runner handed its measurements: for tests of the loop, and for searches to be compared on.

Nothing is launched and no time passes; any failure can be had on demand.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from objectives import Load, Measurement
from runners.base import Description, EngineError, Failure, FailureKind
from search_spaces import Config, Value

Answer = Measurement | Failure
Key = tuple[frozenset[tuple[str, Value]], str, int, int | None, float]
"""A config's settings; a workload's name, its requests, its concurrency and its rate."""
DESCRIPTION = Description(
    engine="replay",
    version="1",
    simulated=True,
    uncertainty="replayed from given measurements",
    noiseless=True,
)


def key(config: Config, load: Load) -> Key:
    """Under which a mapping holds the measurement of a config under a load."""
    w = load.workload
    # A rate is worked out from arrival times, which reading from a file may round.
    rate = w.request_rate if math.isinf(w.request_rate) else round(w.request_rate, 6)
    return frozenset(config.items()), w.name, len(w.requests), w.concurrency, rate


@dataclass(slots=True)
class ReplayEngine:
    """Answers for one config; its age is what the runs handed out would have taken."""

    answer: Callable[[Load], Answer]
    age_s: float
    fresh: bool = True

    def measure(self, load: Load) -> Measurement:
        found = self.answer(load)
        if isinstance(found, Failure):
            raise EngineError(found.kind, found.detail)
        self.age_s += found.duration_s
        return found


@dataclass(slots=True, kw_only=True)
class ReplayRunner:
    """Launches engines that answer from a mapping or a function.

    A config and load that a mapping does not hold is a failure of the host: nothing is known of
    the config.
    """

    measurements: Mapping[Key, Answer] | Callable[[Config, Load], Answer]
    refusals: Callable[[Config], Failure | None] = lambda config: None
    """Why a config cannot be launched, if so."""
    launch_s: float = 60.0
    description: Description = DESCRIPTION
    launched: list[Config] = field(default_factory=list)
    """Every config launched or refused so far, in order."""

    @contextmanager
    def launch(self, config: Config) -> Iterator[ReplayEngine]:
        self.launched.append(config)
        refusal = self.refusals(config)
        if refusal is not None:
            raise EngineError(refusal.kind, refusal.detail)
        yield ReplayEngine(lambda load: self._answer(config, load), self.launch_s)

    def _answer(self, config: Config, load: Load) -> Answer:
        if callable(self.measurements):
            return self.measurements(config, load)
        missing = Failure(FailureKind.HOST, "no measurement of this config under this load")
        return self.measurements.get(key(config, load), missing)
