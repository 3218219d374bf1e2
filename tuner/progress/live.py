"""Progress in a terminal: what stays in place while a study runs."""

from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

from rich.console import Console, Group

from objectives import Goal, Load, Quadrant, RequestResult
from results.record import TrialRecord
from results.text.figures import duration
from results.text.layout import DASH, table
from search_spaces import Config
from tuner.progress.frame import Frame
from tuner.progress.frontier import Frontier
from tuner.progress.layout import laid_out
from tuner.progress.running import Running
from tuner.progress.state import Pace, State
from tuner.progress.words import (
    config_words,
    confirming_words,
    engine_words,
    eta_words,
    goal_words,
    origin_words,
    outcome,
    spaced,
)


class Live:
    """Trials done, the one being tried, the frontier, the best so far; the times go on counting.

    Args:
        axes: of each objective, the throughput and the latency that its frontier is drawn in.
        known: what was tried before.
    """

    def __init__(
        self,
        console: Console,
        knobs: Sequence[str],
        clock: Callable[[], float],
        axes: Mapping[str, tuple[Goal, Goal]],
        known: Sequence[TrialRecord] = (),
    ) -> None:
        self._console = console
        self._knobs = knobs
        self._clock = clock
        self._entered_s = self._told_s = clock()
        self._tried = 0
        self._confirming = Pace(clock)
        self._state: State | None = None
        self._best: Mapping[Quadrant, TrialRecord | None] = dict.fromkeys(Quadrant)
        self._now = self._last = ""
        self._running = Running(clock)
        self._frontiers = {name: Frontier(goals) for name, goals in axes.items()}
        self._add(known)
        self._frame = Frame(console, self._shown)

    def __enter__(self) -> Self:
        self._entered_s = self._clock()
        self._frame.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # The answer follows at once; only a study cut off leaves its last state on the screen.
        self._frame.transient = kind is None
        self._frame.stop()

    def refresh(self) -> None:
        """Draw it as it is now; that happens a few times a second all the same."""
        self._frame.refresh()

    def trying(self, number: int, config: Config, origin: str) -> None:
        config_shown = config_words(config, self._knobs)
        self._begun(f"trying {origin_words(number, origin)}: {config_shown}")

    def measuring(self, load: Load) -> None:
        self._running.begins(load)

    def heard(self, result: RequestResult) -> None:
        self._running.hear(result)

    def tried(
        self,
        records: Sequence[TrialRecord],
        best: Mapping[Quadrant, TrialRecord | None],
        state: State,
    ) -> None:
        self._tried += 1
        self._told_s = self._clock()
        self._state, self._best, self._now = state, dict(best), ""
        trial = origin_words(records[0].number, records[0].origin)
        self._last = f"{trial}: {', '.join(outcome(records))}"
        self._add(records)
        self.refresh()

    def confirming(self, done: int, of: int, arm: str, pair: int) -> None:
        self._confirming.begins(done)
        self._begun(confirming_words(done, of, arm, pair, self._confirming.eta_s(done, of)))

    def note(self, sentence: str) -> None:
        self._console.print(sentence, markup=False, highlight=False, soft_wrap=True)

    def _begun(self, sentence: str) -> None:
        self._now = sentence
        self._running.launches()
        self.refresh()

    def _add(self, records: Sequence[TrialRecord]) -> None:
        for record in records:
            if record.objective in self._frontiers:
                self._frontiers[record.objective].add(record)

    def _shown(self) -> Group:
        columns, rows = self._console.size
        running = self._running.words(named=len(self._frontiers) > 1) if self._now else ""
        told = (self._counts(), self._last, self._now, running)
        return Group(*laid_out(told, self._table(), self._drawn, columns=columns, rows=rows))

    def _drawn(self, columns: int, rows: int) -> list[str]:
        """Of several objectives another after each trial."""
        names = list(self._frontiers)
        if not names:
            return []
        shown = names[self._tried % len(names)]
        name = shown if len(names) > 1 else ""
        return self._frontiers[shown].drawn(name=name, width=columns, rows=rows)

    def _counts(self) -> str:
        state = self._state
        if state is None:
            return f"no trial done yet, {duration(self._clock() - self._entered_s)}"
        since_s = self._clock() - self._told_s
        planned = "" if state.planned is None else f" of {state.planned}"
        eta_s = state.eta_s(self._tried)
        parts = [
            f"{state.done}{planned} trials done",
            duration(state.elapsed_s + since_s),
            eta_words(max(0.0, eta_s - since_s) if eta_s else None),
            engine_words(state),
        ]
        return ", ".join(part for part in parts if part)

    def _table(self) -> list[str]:
        rows = []
        for quadrant in Quadrant:
            record = self._best.get(quadrant)
            value = DASH if record is None else spaced(goal_words(quadrant, record))
            trial = DASH if record is None else str(record.number)
            rows.append([quadrant.numeral, quadrant, value, trial])
        return table("<<<>", [["", "quadrant", "best so far", "trial"]], rows)
