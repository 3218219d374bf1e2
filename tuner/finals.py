"""The end of a study: its finalists confirmed, as far as the budget reaches."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import optuna

from objectives import Goal, Quadrant
from results.confirmation import DEFAULT, Finalist, arm_of, finalists
from results.quadrants import Selection
from results.record import TrialRecord
from runners import Engine, FailureKind, Runner
from runners.vllm import VllmRunner
from search_spaces import Config
from tuner import storage
from tuner.answer import arm_file
from tuner.budget import affordable, default_of
from tuner.confirm import Arm, Turn, goals_of, take, turns
from tuner.folder import Folder
from tuner.observed import Observed
from tuner.problem import Problem
from tuner.progress import Progress
from tuner.spec import StudySpec
from tuner.start_from import read_settings

MODES = ("throughput", "interactivity")
"""Of ``vllm serve --performance-mode``, beside its own default, ``balanced``."""
MODE = "performance_mode"


@dataclass(slots=True, kw_only=True)
class Finals:
    """Finalists are fixed when they begin; a study taken up again goes on with the same."""

    spec: StudySpec
    problem: Problem
    runner: Runner
    studies: Sequence[optuna.Study]
    selection: Selection
    folder: Folder
    progress: Progress
    launches: Callable[[], int]
    interruptible: Callable[[], AbstractContextManager[None]]

    def run(self, records: Sequence[TrialRecord], *, left_s: float | None) -> None:
        """Every turn that is not kept yet.

        Args:
            left_s: engine time left of the budget; ``None``: as much as it takes.
        """
        chosen = self._fixed(records)
        if chosen is None or not chosen:
            return
        arms = affordable(self._arms(chosen, records), self.spec.pairs, records, left_s)
        known = _capacities(chosen, records)
        planned = list(turns(arms, self.spec.pairs))
        runs = storage.confirmations(self.studies)
        missing = [turn for turn in planned if not turn.done(runs)]
        for turn in missing:
            number = planned.index(turn)
            self.progress.confirming(number, len(planned), turn.arm.name, turn.pair + 1)
            self._take(turn, known)

    def _fixed(self, records: Sequence[TrialRecord]) -> list[Finalist] | None:
        """``None`` where nothing can be: without a default to compare with, or a fresh draw."""
        if not self.spec.pairs or any(len(c.fresh) < self.spec.pairs for c in self.problem.cases):
            return None
        if self.spec.target.engine == "openai" or default_of(records) is None:
            return None
        kept = storage.finalists(self.studies)
        if kept is None:
            kept = finalists(self._served_by(records), self.selection)
            storage.keep_finalists(self.studies, kept)
        return kept

    def _served_by(self, records: Sequence[TrialRecord]) -> dict[Quadrant, list[TrialRecord]]:
        names = {q: self.problem.speaking_for(q).profile.name for q in Quadrant}
        return {q: [r for r in records if r.objective == name] for q, name in names.items()}

    def _arms(self, chosen: Sequence[Finalist], records: Sequence[TrialRecord]) -> list[Arm]:
        """The default, the finalists with the study's own quadrants first, the engine's modes."""
        default = default_of(records)
        assert default is not None
        goals = goals_of(chosen)
        own = [case.profile.quadrant for case in self.problem.cases]
        ordered = sorted(chosen, key=lambda f: f.quadrant not in own)
        arms = [self._arm(DEFAULT, default, goals)]
        for number in dict.fromkeys(f.trial for f in ordered):
            record = next(r for r in records if r.number == number)
            mine = goals_of([f for f in chosen if f.trial == number])
            arms.append(self._arm(arm_of(number), record, mine))
        return [*arms, *(self._arm(f"{MODE} {m}", default, goals, mode=m) for m in self._modes())]

    def _modes(self) -> tuple[str, ...]:
        runner = self.runner
        known = isinstance(runner, VllmRunner) and runner.has_flag(MODE)
        return MODES if known and MODE not in self.spec.target.arguments else ()

    def _arm(
        self,
        name: str,
        record: TrialRecord,
        goals: dict[str, frozenset[Goal]],
        *,
        mode: str | None = None,
    ) -> Arm:
        more = {MODE: mode} if mode else {}
        text = arm_file(record.config, self.spec, self.problem.space, more)
        path = self.folder.write_arm(name, text)
        return Arm(name=name, number=record.number, config=record.config, path=path, goals=goals)

    def _take(self, turn: Turn, known: dict[str, list[float]]) -> None:
        with self.interruptible():
            kept = take(turn, self.problem, self._launch, known, launch_id=self.launches())
        failures = (record.failure for record in kept if record.failure)
        host = next((f for f in failures if f["kind"] == FailureKind.HOST), None)
        if host:
            # Says nothing of the config; `tune resume` takes this turn again.
            self.progress.note(f"{turn.arm.name} was not measured: {host['detail']}")
            return
        storage.keep_confirmations(self.studies, kept)
        self.folder.append(kept)

    @contextmanager
    def _launch(self, path: Path, config: Config) -> Iterator[Engine]:
        """The stock engine from its file; with our knobs from the config that it makes."""
        observed = Observed(self.runner, self.progress)
        ours = self.problem.space.needs_ours(config)
        if isinstance(self.runner, VllmRunner) and not ours:
            with self.runner.launch_file(path) as engine:
                yield observed.engine(engine)
            return
        settings = read_settings(path, self.problem.space)
        with self.runner.launch({**config, **settings}) as engine:
            yield observed.engine(engine)


def _capacities(
    chosen: Sequence[Finalist], records: Sequence[TrialRecord]
) -> dict[str, list[float]]:
    """By objective, what the search found of the default and the finalists."""
    default = default_of(records)
    found: dict[str, list[float]] = {}
    for finalist in chosen:
        numbers = {finalist.trial, default.number if default else finalist.trial}
        mine = [r for r in records if r.objective == finalist.objective and r.number in numbers]
        capacities = (r.metric("capacity", "capacity") for r in mine)
        found.setdefault(finalist.objective, []).extend(c for c in capacities if c)
    return found
