"""What Optuna is told of a trial: two values, and one constraint per bound of the SLA."""

import math
from collections.abc import Sequence
from typing import Any

import optuna
from optuna.trial import TrialState

from objectives import Goal
from objectives.quadrant import CAPACITY
from objectives.sla import CLIP
from results.pareto import values
from results.record import TrialRecord
from tuner.problem import Case, Problem

WORST = {"maximize": 0.0, "minimize": 1e6}
"""Told of a config that cannot be served before anything has been measured."""
SLA = "sla"
"""The constraints once more, where optuna-dashboard shows them: it does not read Optuna 5's."""


def told(
    problem: Problem, case: Case, record: TrialRecord, earlier: Sequence[TrialRecord]
) -> tuple[list[float], dict[str, float]]:
    """(values, constraints) of a record.

    A config that cannot be served is told the worst measured so far and every constraint at its
    worst, so that nothing measured is worse; samplers ignore failed trials and would propose such
    configs again. Constraints come in the order of their names, always all of them.
    """
    goals = case.profile.values(capacity=problem.capacity)
    if record.stopped_early:
        stopped = [_no_better(goal, problem, case, record, earlier) for goal in goals]
        return stopped, {name: j.excess for name, j in record.sla.items()}
    found = values(record, goals) if record.failure is None else None
    if found is None:
        constraints = {bound.name: CLIP for bound in case.profile.sla}
        return _worst(goals, earlier, record.objective), constraints
    return list(found), {name: j.excess for name, j in record.sla.items()}


def _no_better(
    goal: Goal, problem: Problem, case: Case, record: TrialRecord, earlier: Sequence[TrialRecord]
) -> float:
    """Of a trial that was stopped: what it came to, or the best so far where that is worse."""
    complete = [r for r in earlier if r.complete and r.objective == record.objective]
    found = (r.metric(goal.load, goal.metric) for r in complete if r.meets_sla)
    kept = [value for value in found if value is not None]
    estimate = _carried(case, record) / problem.gpus if goal == CAPACITY else None
    measured = estimate or record.metric(goal.load, goal.metric)
    known = [value for value in (*_best_of(kept, goal), measured) if value is not None]
    if not known:
        return _worst([goal], earlier, record.objective)[0]
    return min(known) if goal.direction == "maximize" else max(known)


def _best_of(found: Sequence[float], goal: Goal) -> list[float]:
    pick = max if goal.direction == "maximize" else min
    return [pick(found)] if found else []


def _carried(case: Case, record: TrialRecord) -> float:
    """Requests per second, between the last level that held and the first that did not."""
    probes = record.loads.get("capacity", {}).get("probes", [])
    offered = case.workload.request_rate
    broken = [p["level"] for p in probes if not p["holds"]] or [offered]
    held = [p["level"] for p in probes if p["holds"]] + [offered] * record.meets_sla
    high = min(broken) if record.meets_sla else min(*broken, offered)
    low = max((level for level in held if level <= high), default=high / 2)
    return math.sqrt(low * high) if math.isfinite(high) else 0.0


def _worst(goals: Sequence[Goal], earlier: Sequence[TrialRecord], objective: str) -> list[float]:
    measured = [
        found
        for r in earlier
        if r.objective == objective and r.failure is None and (found := values(r, goals))
    ]
    if not measured:
        return [WORST[goal.direction] for goal in goals]
    picks = [min if goal.direction == "maximize" else max for goal in goals]
    return [pick(column) for pick, column in zip(picks, zip(*measured, strict=True), strict=True)]


def tell(
    studies: Sequence[optuna.Study],
    asked: optuna.Study,
    number: int,
    records: Sequence[TrialRecord],
    earlier: Sequence[TrialRecord],
    problem: Problem,
) -> None:
    """Add the trial to the studies that did not ask, then tell the one that did.

    In this order a study cut off half-way is told again as a whole: the trial is still running.
    """
    for study, record in zip(studies, records, strict=True):
        case = problem.case(record.objective)
        found, constraints = told(problem, case, record, earlier)
        if study is asked:
            trial = optuna.Trial(study, study.get_trials(deepcopy=False)[number]._trial_id)
            for name, value in constraints.items():
                if name not in trial.constraints:
                    trial.set_constraint(name, value)
            if SLA not in trial.user_attrs:
                trial.set_user_attr(SLA, constraints)
        elif len(study.get_trials(deepcopy=False)) == number:
            study.add_trial(_copy(asked, number, values=found, constraints=constraints))
    own = next(r for study, r in zip(studies, records, strict=True) if study is asked)
    asked.tell(number, told(problem, problem.case(own.objective), own, earlier)[0])


def fail(studies: Sequence[optuna.Study], asked: optuna.Study, number: int) -> None:
    """A trial of which nothing is known: told FAIL everywhere, so that numbers stay in step."""
    for study in studies:
        if study is not asked and len(study.get_trials(deepcopy=False)) == number:
            study.add_trial(_copy(asked, number, state=TrialState.FAIL))
    asked.tell(number, state=TrialState.FAIL)


def _copy(asked: optuna.Study, number: int, **outcome: Any) -> optuna.trial.FrozenTrial:
    trial = asked.get_trials(deepcopy=False)[number]
    constraints = outcome.pop("constraints", None)
    return optuna.create_trial(
        params=trial.params,
        distributions=trial.distributions,
        **({"constraints": constraints, "user_attrs": {SLA: constraints}} if constraints else {}),
        **outcome,
    )
