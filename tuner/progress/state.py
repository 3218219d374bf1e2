"""How far a study is, and what anything that shows it can be told."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from objectives import Load, Quadrant, RequestResult
from results.record import TrialRecord
from search_spaces import Config


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """How far a study is."""

    done: int
    """Trials with an answer, those of an earlier run included."""
    planned: int | None
    engine_s: float
    """Engine time used, that of an earlier run included; simulated seconds when simulated."""
    budget_s: float | None
    """Engine time to be used, instead of or besides ``planned`` trials."""
    elapsed_s: float
    """Since this run began."""

    def eta_s(self, tried: int) -> float | None:
        """Time left at the pace of the ``tried`` trials of this run; ``None`` before the first."""
        if not tried or not self.done:
            return None
        left: list[float] = []
        if self.planned is not None:
            left.append(self.planned - self.done)
        if self.budget_s is not None and self.engine_s > 0:
            left.append((self.budget_s - self.engine_s) * self.done / self.engine_s)
        return max(0.0, min(left)) * self.elapsed_s / tried if left else None


class Pace:
    """How long what is counted takes, from the first that this run begins."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._first: tuple[int, float] | None = None

    def begins(self, done: int) -> None:
        self._first = self._first or (done, self._clock())

    def eta_s(self, done: int, of: int) -> float | None:
        """Time left; ``None`` before one has been done."""
        if self._first is None or done == self._first[0]:
            return None
        return (self._clock() - self._first[1]) / (done - self._first[0]) * (of - done)


class Progress(Protocol):
    """What is shown while a study runs; on leaving, the terminal is as it was."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def trying(self, number: int, config: Config, origin: str) -> None:
        """A config is being launched."""
        ...

    def measuring(self, load: Load) -> None:
        """A run under a load begins, or begins again."""
        ...

    def heard(self, result: RequestResult) -> None:
        """One of its requests has finished or failed; of real engines only."""
        ...

    def tried(
        self,
        records: Sequence[TrialRecord],
        best: Mapping[Quadrant, TrialRecord | None],
        state: State,
    ) -> None:
        """A launch has its answer: one record per objective."""
        ...

    def confirming(self, done: int, of: int, arm: str, pair: int) -> None:
        """Of the launches that confirm the finalists, another begins."""
        ...

    def note(self, sentence: str) -> None:
        """Something worth knowing that belongs to no trial."""
        ...
