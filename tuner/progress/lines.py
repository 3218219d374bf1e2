"""Progress where there is no terminal: one line per trial."""

import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self, TextIO

from objectives import Load, Quadrant, RequestResult
from results.record import TrialRecord
from search_spaces import Config
from tuner.progress.state import Pace, State
from tuner.progress.words import (
    config_words,
    confirming_words,
    done_words,
    engine_words,
    eta_words,
    newly_best,
    origin_words,
    outcome,
    spaced,
)

GAP = "  "


class Lines:
    """``7/40  trial 6  tp2 seqs 256 tokens 8192 wait 0  met  p95 TTFT 212 ms  ETA 1 min 12 s``."""

    def __init__(
        self, stream: TextIO, knobs: Sequence[str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream
        self._knobs = knobs
        self._tried = 0
        self._confirming = Pace(clock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stream.flush()

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
        self._tried += 1
        leads = newly_best(records, best)
        eta_s = state.eta_s(self._tried)
        parts = [
            done_words(state),
            origin_words(records[0].number, records[0].origin),
            config_words(records[0].config, self._knobs),
            *outcome(records),
            f"best of {', '.join(leads)}" if leads else "",
            engine_words(state) if state.budget_s is not None else "",
            eta_words(eta_s or None),
        ]
        self.note(spaced(GAP.join(part for part in parts if part)))

    def confirming(self, done: int, of: int, arm: str, pair: int) -> None:
        self._confirming.begins(done)
        self.note(spaced(confirming_words(done, of, arm, pair, self._confirming.eta_s(done, of))))

    def note(self, sentence: str) -> None:
        print(sentence, file=self._stream, flush=True)
