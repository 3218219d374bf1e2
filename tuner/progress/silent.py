"""No progress at all, for ``--quiet`` and ``--json``."""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from objectives import Load, Quadrant, RequestResult
from results.record import TrialRecord
from search_spaces import Config
from tuner.progress.state import State


class Silent:
    """Shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def trying(self, number: int, config: Config, origin: str) -> None:
        pass

    def measuring(self, load: Load) -> None:
        pass

    def heard(self, result: RequestResult) -> None:
        pass

    def tried(
        self,
        records: Sequence[TrialRecord],
        best: Mapping[Quadrant, TrialRecord | None],
        state: State,
    ) -> None:
        pass

    def confirming(self, done: int, of: int, arm: str, pair: int) -> None:
        pass

    def note(self, sentence: str) -> None:
        pass
