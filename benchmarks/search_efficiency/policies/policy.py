"""What a policy is: a search that says what to try next, and rules by which a config is judged."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from benchmarks.search_efficiency import under_test
from benchmarks.search_efficiency.stand import Charge, Stand
from benchmarks.search_efficiency.surface import Surface
from results.record import TrialRecord
from search_spaces import Config


@dataclass(frozen=True, slots=True)
class Answer:
    """What a policy learns of a config."""

    score: float | None
    """Higher is better; ``None``: it could not be launched."""
    kept: bool = True
    """Whether it keeps the promise, as far as the policy asks for one."""


class Search(Protocol):
    """What is tried next."""

    def ask(self) -> Config | None:
        """``None``: nothing more is worth trying."""
        ...

    def tell(self, config: Config, answer: Answer) -> None: ...


class Rules(Protocol):
    """How a config is measured and which one is chosen in the end."""

    def measure(self, stand: Stand, config: Config) -> Answer:
        """By one launch."""
        ...

    def choice(self) -> Config | None:
        """What would be recommended now."""
        ...


@dataclass(frozen=True, slots=True)
class Step:
    """A config tried, and what is recommended from then on."""

    charge: Charge
    recommended: Config | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """One way to search."""

    name: str
    about: str
    """What it does and where that is described, in a sentence."""
    search: Callable[[Surface, int, bool], Search] | None = None
    """From a surface, a seed, and whether the engine's rules are known before a launch; ``None``:
    the program under test searches by itself."""
    rules: Callable[[Surface], Rules] | None = None
    """Its own; ``None``: it has none and is measured as the program under test measures."""
    same_measurement: bool = True
    """Whether it is compared by the program's measurement, too."""
    live: bool = False
    """Whether it turns live knobs on the running engine."""
    racing: bool = True
    """Whether the program under test stops trials that have lost."""
    variant: bool = False
    """Of the program under test, to show what one part of it gains: by the same measurement
    alone."""
    seeds: int | None = None
    """At most so many, where each is expensive."""


Enough = Callable[[Stand], bool]


def play(search: Search, rules: Rules, stand: Stand, enough: Enough) -> list[Step]:
    """Try what the search asks for until it has used up its budget, or has no more to ask for."""
    steps = []
    while not enough(stand):
        config = search.ask()
        if config is None:
            break
        search.tell(config, rules.measure(stand, config))
        steps.append(Step(stand.charges[-1], rules.choice()))
    return steps


class SameMeasurement:
    """Measured and chosen from as the program under test does both."""

    def __init__(self, surface: Surface) -> None:
        self._surface = surface
        self._records: list[TrialRecord] = []

    def measure(self, stand: Stand, config: Config) -> Answer:
        problem = self._surface.problem
        record = under_test.tried(problem, stand, config, len(self._records))
        self._records.append(record)
        throughput, latency_ms = under_test.values(problem, record)
        if throughput is None or latency_ms is None:
            return Answer(None, kept=False)
        score = throughput if self._surface.goal == "throughput" else -latency_ms
        return Answer(score, kept=record.meets_sla)

    def choice(self) -> Config | None:
        return under_test.recommended(self._surface.problem, self._records)


class BestScore:
    """Chooses the best score of those that keep the promise."""

    def __init__(self) -> None:
        self._best: tuple[float, Config] | None = None

    def judged(self, config: Config, answer: Answer) -> Answer:
        better = answer.score is not None and (self._best is None or answer.score > self._best[0])
        if answer.kept and better and answer.score is not None:
            self._best = answer.score, config
        return answer

    def choice(self) -> Config | None:
        return self._best and self._best[1]
