"""Engines that tell whoever shows the study which load they are under and what came of it.

The telling is done here, where results arrive: not in the processes that send a real load, which
must not be late, and not per request of a simulated one, which is over at once.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from objectives import Load, Measurement, RequestResult
from objectives.workload import Watch
from runners import Description, Engine, Runner
from search_spaces import Config
from tuner.progress import Progress


@dataclass(slots=True)
class Overheard:
    """A run's own watch, if it has one, and somebody who looks on."""

    progress: Progress
    own: Watch | None

    def over(self, result: RequestResult, now_s: float) -> bool:
        self.progress.heard(result)
        return self.own is not None and self.own.over(result, now_s)


@dataclass(slots=True)
class ObservedEngine:
    engine: Engine
    progress: Progress
    simulated: bool

    @property
    def age_s(self) -> float:
        return self.engine.age_s

    @property
    def fresh(self) -> bool:
        return self.engine.fresh

    def measure(self, load: Load) -> Measurement:
        self.progress.measuring(load)
        if self.simulated:
            return self.engine.measure(load)

        def overheard() -> Overheard:
            # A run for which the client was late begins again.
            self.progress.measuring(load)
            return Overheard(self.progress, load.watch() if load.watch else None)

        return self.engine.measure(replace(load, watch=overheard))


@dataclass(frozen=True, slots=True)
class Observed:
    """A runner whose engines are observed."""

    runner: Runner
    progress: Progress

    @property
    def description(self) -> Description:
        return self.runner.description

    @contextmanager
    def launch(self, config: Config) -> Iterator[ObservedEngine]:
        with self.runner.launch(config) as engine:
            yield self.engine(engine)

    def engine(self, engine: Engine) -> ObservedEngine:
        return ObservedEngine(engine, self.progress, self.description.simulated)
