"""Progress in a terminal: a table that stays in place; the only importer of rich."""

from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

from rich import live
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from objectives import Quadrant
from results.record import TrialRecord
from results.text.figures import duration
from results.text.layout import DASH
from search_spaces import Config
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
    """Trials done, the one being tried, the best so far; elapsed time and ETA go on counting."""

    def __init__(self, console: Console, knobs: Sequence[str], clock: Callable[[], float]) -> None:
        self._knobs = knobs
        self._clock = clock
        self._entered_s = self._told_s = clock()
        self._tried = 0
        self._confirming = Pace(clock)
        self._state: State | None = None
        self._best: Mapping[Quadrant, TrialRecord | None] = dict.fromkeys(Quadrant)
        self._now = self._last = ""
        self._live = live.Live(
            console=console,
            get_renderable=self._shown,
            # Results go to stdout, which is not this console's.
            redirect_stdout=False,
        )

    def __enter__(self) -> Self:
        self._entered_s = self._clock()
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # The answer follows at once; only a study cut off leaves its last state on the screen.
        self._live.transient = kind is None
        self._live.stop()

    def trying(self, number: int, config: Config, origin: str) -> None:
        config_shown = config_words(config, self._knobs)
        self._now = f"trying {origin_words(number, origin)}: {config_shown}"
        self._live.refresh()

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
        self._live.refresh()

    def confirming(self, done: int, of: int, arm: str, pair: int) -> None:
        self._confirming.begins(done)
        self._now = confirming_words(done, of, arm, pair, self._confirming.eta_s(done, of))
        self._live.refresh()

    def note(self, sentence: str) -> None:
        self._live.console.print(sentence, markup=False, highlight=False, soft_wrap=True)

    def _shown(self) -> Group:
        lines = [self._counts(), self._last, self._now]
        return Group(*(Text(spaced(line)) for line in lines if line), self._table())

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

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False)
        for name in ("", "quadrant", "best so far"):
            table.add_column(name, no_wrap=True)
        table.add_column("trial", justify="right")
        for quadrant in Quadrant:
            record = self._best.get(quadrant)
            value = DASH if record is None else spaced(goal_words(quadrant, record))
            trial = DASH if record is None else str(record.number)
            table.add_row(quadrant.numeral, quadrant, value, trial)
        return table
