"""How much each knob matters, by PED-ANOVA over the trials that were measured whole.

Traps: trials that failed or stopped are told made-up values, so Optuna's own study is never asked;
and an importance from few trials is hardly better than chance, so it comes with an interval.
"""

import math
import warnings
from collections.abc import Sequence

import numpy as np
import optuna
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, create_trial

from objectives import Goal
from results.record import TrialRecord
from results.report import KnobImportance
from tuner.problem import Problem

LEAST_TRIALS = 12
TOP = 0.1
"""Share of the trials that counts as the best, and how many there are at least."""
LEAST_AT_TOP = 5
REDRAWN = 20
ENDS = (0.1, 0.9)


def importance(
    studies: Sequence[optuna.Study], problem: Problem, records: Sequence[TrialRecord]
) -> dict[tuple[str, str], list[KnobImportance]]:
    """By objective and metric; nothing where too few trials tell, or all are alike."""
    found = {}
    for study, case in zip(studies, problem.cases, strict=True):
        name = case.profile.name
        mine = [r for r in records if r.objective == name and r.complete]
        for goal in case.profile.values(capacity=problem.capacity):
            trials = _valued(study, mine, goal)
            if len({trial.value for trial in trials}) > 1 and len(trials) >= LEAST_TRIALS:
                found[name, goal.metric] = _shares(trials, goal)
    return found


def _valued(study: optuna.Study, records: Sequence[TrialRecord], goal: Goal) -> list[FrozenTrial]:
    """Each record's own figure with the parameters that its trial was asked with."""
    asked = study.get_trials(deepcopy=False)
    return [
        create_trial(
            params=asked[record.number].params,
            distributions=asked[record.number].distributions,
            value=value,
        )
        for record in records
        if (value := record.metric(goal.load, goal.metric)) is not None
        and record.number < len(asked)
        and asked[record.number].params
    ]


def _shares(trials: Sequence[FrozenTrial], goal: Goal) -> list[KnobImportance]:
    rng = np.random.default_rng(0)
    seen = _importances(trials, goal)
    drawn = [
        _importances([trials[i] for i in rng.integers(0, len(trials), len(trials))], goal)
        for _ in range(REDRAWN)
    ]
    found = []
    for knob, share in seen.items():
        low, high = np.quantile([shares.get(knob, 0.0) for shares in drawn], ENDS)
        found.append(
            KnobImportance(
                knob=knob, share=share, low=min(share, float(low)), high=max(share, float(high))
            )
        )
    return found


def _importances(trials: Sequence[FrozenTrial], goal: Goal) -> dict[str, float]:
    study = optuna.create_study(direction=goal.direction)
    study.add_trials(trials)
    top = min(0.5, max(TOP, LEAST_AT_TOP / len(trials)))
    with warnings.catch_warnings():
        # Of draws in which all trials are as good as each other.
        warnings.simplefilter("ignore")
        found = get_param_importances(
            study, evaluator=PedAnovaImportanceEvaluator(target_quantile=top)
        )
    return {knob: share for knob, share in found.items() if math.isfinite(share)}
