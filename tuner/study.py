"""The loop: ask for a config, try it, judge it, keep it, tell the sampler."""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import optuna
from optuna.trial import TrialState

from objectives import Quadrant
from results.confirmation import as_finalists
from results.quadrants import Selection, winner
from results.record import Origin, TrialRecord
from runners import FailureKind, Runner
from search_spaces import Config
from tuner import storage, tell
from tuner.budget import another_fits, refuse_too_small
from tuner.errors import BadInput, EngineTrouble
from tuner.folder import Folder
from tuner.observed import Observed
from tuner.presets import promises
from tuner.problem import Case, Problem
from tuner.progress import Progress, State
from tuner.race import Race
from tuner.records import records, ruled_out
from tuner.sampler import ask, enqueue, turn
from tuner.trial import Outcome, try_out, unopposed

HOST_FAILURES = 3
UNTRIED_IN_A_ROW = 50
"""Proposals that launch nothing, for a rule they break or because they were tried before."""
RACING: frozenset[Origin] = frozenset({"sampler"})
"""The default, presets and the user's own config are measured whole."""
FAILED_IN_A_ROW = 50
"""Configs none of which can be served: a budget alone would let such a study go on for ever."""


@dataclass(slots=True)
class Loop:
    """A study being run; everything it knows is in storage or derived from it."""

    problem: Problem
    runner: Runner
    studies: Sequence[optuna.Study]
    selection: Selection
    folder: Folder
    progress: Progress
    mirror: Callable[[TrialRecord], None]
    trials: int | None
    budget_s: float | None
    pairs: int = 0
    """Of the confirmation that the budget must leave room for."""
    prepaid_s: float = 0.0
    """Engine time spent before the first trial; it and its launch are that trial's."""
    learn: Callable[[Sequence[TrialRecord]], None] = lambda records: None
    """Told of every trial once it is kept."""
    racing: frozenset[Origin] = RACING
    """Origins of the trials that may stop early."""
    interruptible: Callable[[], AbstractContextManager[None]] = nullcontext
    """Where the loop may be left: elsewhere it is writing."""
    records: list[TrialRecord] = field(default_factory=list)
    started_s: float = field(default_factory=time.monotonic)
    host_failures: int = 0
    untried: int = 0
    """Proposals in a row that launched nothing, of which ``ruled_out`` by a rule."""
    ruled_out: int = 0
    exhausted: bool = False

    def run(self) -> None:
        """Until the trials or the budget are used up, or nothing new is proposed.

        Raises:
            EngineTrouble: three failures of the host in a row.
            BadInput: a rule keeps ruling out everything proposed.
        """
        self.recover()
        while self._wanted():
            self._one()

    def recover(self) -> None:
        """Bring a study that was cut off back in order: nothing measured is lost or repeated."""
        self.records = storage.records(self.studies)
        for asked in self.studies:
            for trial in asked.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                kept = storage.attached(trial)
                if kept:
                    self._tell(asked, trial.number, kept)
                    continue
                tell.fail(self.studies, asked, trial.number)
                if trial.params.keys() == self.problem.space.searched.keys():
                    origin = trial.user_attrs.get(storage.ORIGIN, "sampler")
                    enqueue(asked, trial.params, origin)
        self.records = storage.records(self.studies)
        confirmed = storage.confirmations(self.studies)
        self.folder.settle([*(r for r in self.records if r.answered), *confirmed])

    def _one(self) -> None:
        with self.interruptible():
            pass
        asked = turn(self.studies)
        left = None if self.trials is None else self.trials - self.state().done
        trial, config, origin = ask(asked, self.problem, self.records, self.selection, left=left)
        if self.problem.space.broken_rules(config):
            self._rule_out(asked, trial, ruled_out(self.problem, config, number=trial.number))
        elif known := self._known(config):
            self._tell_again(asked, trial, known)
        else:
            self.untried = self.ruled_out = 0
            self._try_out(asked, trial, config, origin)

    def _try_out(
        self, asked: optuna.Study, trial: optuna.Trial, config: Config, origin: Origin
    ) -> None:
        self.progress.trying(trial.number, config, origin)
        race = self._race if origin in self.racing else unopposed
        with self.interruptible():
            outcome = try_out(self.problem, Observed(self.runner, self.progress), config, race)
        if outcome.failure and outcome.failure.kind is FailureKind.HOST:
            tell.fail(self.studies, asked, trial.number)
            enqueue(asked, trial.params, origin)
            self._host_failed(outcome.failure.detail)
            return
        self.host_failures = 0
        if self.prepaid_s:
            outcome.engine_s, outcome.fresh = outcome.engine_s + self.prepaid_s, True
            self.prepaid_s = 0.0
        kept = records(
            self.problem,
            outcome,
            config,
            number=trial.number,
            origin=origin,
            launch_id=self.launches() if outcome.fresh else self.launches() - 1,
        )
        self._keep(asked, trial, kept, outcome)

    def _keep(
        self,
        asked: optuna.Study,
        trial: optuna.Trial,
        kept: list[TrialRecord],
        outcome: Outcome,
    ) -> None:
        self.folder.write_requests(trial.number, outcome.requests())
        storage.attach(trial, kept)
        self._tell(asked, trial.number, kept)
        self.folder.append(kept)
        for record in kept:
            self.mirror(record)
        self.progress.tried(kept, self.best(), self.state())
        self.learn(kept)

    def _tell(self, asked: optuna.Study, number: int, kept: list[TrialRecord]) -> None:
        tell.tell(self.studies, asked, number, kept, self.records, self.problem)
        self.records += kept

    def _rule_out(self, asked: optuna.Study, trial: optuna.Trial, kept: list[TrialRecord]) -> None:
        storage.attach(trial, kept)
        self._tell(asked, trial.number, kept)
        self.ruled_out += 1
        if self.ruled_out >= UNTRIED_IN_A_ROW:
            detail = (kept[0].failure or {})["detail"]
            raise BadInput(
                f"{UNTRIED_IN_A_ROW} proposals in a row broke a rule: {detail}; "
                "widen a --range or change a --set that leaves nothing else."
            )
        self._launched_nothing()

    def _known(self, config: Config) -> list[TrialRecord]:
        """The records of a config that need not be tried again, for the figures are the same."""
        if not self.runner.description.noiseless:
            return []
        known = [r for r in self.records if r.answered and r.config == config]
        return known[: len(self.studies)]

    def _tell_again(
        self, asked: optuna.Study, trial: optuna.Trial, known: list[TrialRecord]
    ) -> None:
        tell.tell(self.studies, asked, trial.number, known, self.records, self.problem)
        self.ruled_out = 0
        self._launched_nothing()

    def _launched_nothing(self) -> None:
        self.untried += 1
        if self.untried >= UNTRIED_IN_A_ROW:
            self.exhausted = True
            self.progress.note("Nothing new is proposed: the space seems to be used up.")

    def _host_failed(self, detail: str) -> None:
        self.host_failures += 1
        if self.host_failures >= HOST_FAILURES:
            raise EngineTrouble(f"The host failed {HOST_FAILURES} times in a row: {detail}")

    def _wanted(self) -> bool:
        state = self.state()
        if self.exhausted:
            return False
        if self.trials is not None:
            return state.done < self.trials
        if state.done >= FAILED_IN_A_ROW and all(r.failure for r in self.records):
            return False
        budget_s = self.budget_s or 0.0
        if state.done == 1:
            refuse_too_small(self.records, budget_s, state.engine_s, self.pairs)
        return not state.done or another_fits(self.records, budget_s, state.engine_s, self.pairs)

    def launches(self) -> int:
        """How many there were so far."""
        known = [*self.records, *storage.confirmations(self.studies)]
        return 1 + max((r.launch_id for r in known if r.launch_id is not None), default=-1)

    def state(self) -> State:
        """How far the study is."""
        per_trial = {r.number: r.engine_s for r in self.records if r.answered}
        return State(
            done=len(per_trial),
            planned=self.trials,
            engine_s=sum(per_trial.values()),
            budget_s=self.budget_s,
            elapsed_s=time.monotonic() - self.started_s,
        )

    def best(self, selection: Selection | None = None) -> dict[Quadrant, TrialRecord | None]:
        """The winners so far."""
        found: dict[Quadrant, TrialRecord | None] = {}
        for quadrant in Quadrant:
            name = self.problem.speaking_for(quadrant).profile.name
            mine = [r for r in self.records if r.objective == name]
            found[quadrant] = winner(mine, quadrant, selection or self.selection)
        return found

    def _race(self, case: Case) -> Race:
        """What a config is up against in a case's traffic: who would be a finalist now."""
        best = self.best(as_finalists(self.selection))
        return Race(
            best={q: best[q] for q in Quadrant if self.problem.speaking_for(q) is case},
            promises=promises(case.profile),
            margin=self.selection.ties.relative,
            exact=self.problem.noiseless,
        )
