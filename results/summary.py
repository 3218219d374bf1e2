"""``summary.json``: the whole answer of a study, from its records alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from objectives import Goal, LoadName, Profile, Quadrant
from results.confirmation import DEFAULT, Confirmation, arm_of, elected
from results.differences import unused_knobs
from results.nearest import nearest
from results.pareto import front, values
from results.quadrants import (
    Selection,
    best_with_ours,
    better_by,
    over_default,
    regret,
)
from results.record import Judgements, TrialRecord

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyFacts:
    """What a study is about, besides its trials."""

    study: str
    objective: str
    profiles: tuple[Profile, ...]
    capacity: bool
    engine: str
    engine_version: str
    simulated: bool
    uncertainty: str
    hardware: Mapping[str, Any]
    model: str
    workloads: Mapping[str, Mapping[str, Any]]
    seed: int


def summarise(
    facts: StudyFacts,
    records: Sequence[TrialRecord],
    selection: Selection,
    *,
    wall_s: float,
    confirmed: Sequence[Confirmation] | None = None,
    runs: Sequence[TrialRecord] = (),
) -> dict[str, Any]:
    """The contract's ``summary.json``.

    Args:
        confirmed: what came of each quadrant's finalist; ``None`` before any was fixed.
        runs: from which it came.
    """
    answered = [r for r in records if r.answered]
    served_by = {q: _serving(facts, answered, q) for q in Quadrant}
    known = None if confirmed is None else {c.finalist.quadrant: c for c in confirmed}
    winners = {q: elected(served_by[q], q, selection, known) for q in Quadrant}
    own = [p.quadrant for p in facts.profiles]
    return {
        "schema_version": SCHEMA_VERSION,
        "study": facts.study,
        "objective": facts.objective,
        "engine": facts.engine,
        "engine_version": facts.engine_version,
        "simulated": facts.simulated,
        "uncertainty": facts.uncertainty,
        "hardware": dict(facts.hardware),
        "model": facts.model,
        "workloads": {name: dict(w) for name, w in facts.workloads.items()},
        "seed": facts.seed,
        "trials": _counts(answered),
        "cost": _cost([*answered, *runs], facts, wall_s),
        "baseline": _baseline(answered, facts),
        "best": {q: _best(winners[q], served_by[q], q, selection, known, runs) for q in Quadrant},
        "confirmation": None if known is None else {q: c.to_json() for q, c in known.items()},
        "regret": regret(winners, served_by, selection.ties, _shown_gains(winners, known)),
        "front": _front(facts, answered),
        "unused_knobs": _unused(facts, answered, selection, winners),
        "infeasible": next(
            (_infeasible(served_by[q], q, selection) for q in own if winners[q] is None), None
        ),
    }


def _serving(
    facts: StudyFacts, records: Sequence[TrialRecord], quadrant: Quadrant
) -> list[TrialRecord]:
    """The records that speak for a quadrant: its own objective's, else the study's only one's."""
    name = _served_by(facts, quadrant).name
    return [r for r in records if r.objective == name]


def _served_by(facts: StudyFacts, quadrant: Quadrant) -> Profile:
    own = [profile for profile in facts.profiles if profile.quadrant is quadrant]
    return (own or list(facts.profiles))[0]


def _counts(answered: Sequence[TrialRecord]) -> dict[str, int]:
    """Launched configs; in ``all`` one is feasible when it keeps any of the promises."""
    launches: dict[int, list[TrialRecord]] = {}
    for record in answered:
        launches.setdefault(record.number, []).append(record)
    failed = sum(any(r.failure for r in rs) for rs in launches.values())
    feasible = sum(
        any(r.meets_sla for r in rs) and not any(r.failure for r in rs) for rs in launches.values()
    )
    return {
        "done": len(launches),
        "feasible": feasible,
        "infeasible": len(launches) - failed - feasible,
        "failed": failed,
        "stopped_early": sum(any(r.stopped_early for r in rs) for rs in launches.values()),
    }


def _cost(answered: Sequence[TrialRecord], facts: StudyFacts, wall_s: float) -> dict[str, float]:
    # In `all` a launch has a record per objective.
    trials = {(r.number, r.launch_id): r for r in answered}.values()
    engine_s = sum(r.engine_s for r in trials)
    return {
        "wall_s": round(wall_s, 3),
        "engine_s": engine_s,
        "measured_s": sum(r.measured_s for r in trials),
        "launches": len({r.launch_id for r in answered}),
        "gpu_hours": engine_s * float(facts.hardware["gpus"]) / 3600,
    }


def sla_json(judgements: Judgements) -> dict[str, Any]:
    """``{bound: {limit, value, share, verdict}}``."""
    return {
        name: {"limit": j.limit, "value": j.value, "share": j.share, "verdict": str(j.verdict)}
        for name, j in judgements.items()
    }


def _baseline(answered: Sequence[TrialRecord], facts: StudyFacts) -> dict[str, Any] | None:
    """The default config's figures; in ``all`` on the first objective's traffic."""
    record = _default(answered, facts.profiles[0].name)
    if record is None:
        return None
    return {
        "config": dict(record.config),
        "loads": dict(record.loads),
        "sla": sla_json(record.sla),
    }


def _default(records: Sequence[TrialRecord], objective: str) -> TrialRecord | None:
    found = [r for r in records if r.origin == "default" and r.objective == objective]
    return next((r for r in found if r.failure is None), None)


def _best(
    best: TrialRecord | None,
    served: Sequence[TrialRecord],
    quadrant: Quadrant,
    selection: Selection,
    known: Mapping[Quadrant, Confirmation] | None,
    runs: Sequence[TrialRecord],
) -> dict[str, Any] | None:
    if best is None:
        return None
    baseline = _default(served, best.objective)
    goal, value, ratio = over_default(best, baseline, quadrant, selection.ties)
    of_best = known.get(quadrant) if known else None
    if of_best and of_best.finalist.trial == best.number:
        goal, value = of_best.finalist.goal, best.metric(*_place(of_best.finalist.goal)) or value
    return {
        "config": dict(best.config),
        "objective": best.objective,
        "loads": dict(best.loads),
        "sla": sla_json(best.quadrants[quadrant]),
        "goal": {"metric": goal.metric, "value": value},
        "trial": best.number,
        "gain": _gain(best, ratio, of_best),
        "baseline_keeps_sla": baseline is not None and baseline.serves(quadrant),
        "confirmed": known is not None and (of_best is None or of_best.decided),
        "from_file": _from_file(best, quadrant, runs),
        "ours": _ours(best, served, quadrant, selection),
    }


def _shown_gains(
    winners: Mapping[Quadrant, TrialRecord | None],
    known: Mapping[Quadrant, Confirmation] | None,
) -> dict[Quadrant, float]:
    """Of the winners that the pairs showed to be better than the default."""
    return {
        quadrant: found.comparison.ratio
        for quadrant, found in (known or {}).items()
        if found.outcome == "gain" and found.comparison
        if (best := winners[quadrant]) and best.number == found.finalist.trial
    }


def _place(goal: Goal) -> tuple[LoadName, str]:
    return goal.load, goal.metric


def _gain(
    best: TrialRecord, ratio: float | None, confirmation: Confirmation | None
) -> dict[str, float | None] | None:
    """Over the default: as the pairs found it, else as the search did."""
    found = confirmation.comparison if confirmation else None
    if confirmation and found and confirmation.finalist.trial == best.number:
        return {"ratio": found.ratio, "low": found.low, "high": found.high}
    return None if ratio is None else {"ratio": ratio, "low": None, "high": None}


def _from_file(
    best: TrialRecord, quadrant: Quadrant, runs: Sequence[TrialRecord]
) -> dict[str, Any] | None:
    """What the engine did when started from the winner's file; ``None``: it was not."""
    same = [r for r in runs if (r.number, r.objective) == (best.number, best.objective)]
    found = next((r for r in same if r.arm in (DEFAULT, arm_of(best.number))), None)
    if found is None:
        return None
    return {
        "loads": dict(found.loads),
        "sla": sla_json(found.quadrants.get(quadrant, {})),
        "failure": found.failure,
    }


def _ours(
    best: TrialRecord,
    served: Sequence[TrialRecord],
    quadrant: Quadrant,
    selection: Selection,
) -> dict[str, Any] | None:
    """The best config with our scheduler class, where it beats the winner."""
    record = best_with_ours(served, quadrant, selection)
    ratio = better_by(record, best, quadrant, selection.ties) if record else None
    if record is None or ratio is None or ratio <= 1 + selection.ties.relative:
        return None
    return {"config": dict(record.config), "trial": record.number, "extra_gain": ratio - 1}


def _front(facts: StudyFacts, answered: Sequence[TrialRecord]) -> list[dict[str, Any]]:
    rows = []
    for profile in facts.profiles:
        goals = profile.values(capacity=facts.capacity)
        mine = [r for r in answered if r.objective == profile.name]
        for record in front(mine, goals):
            found = values(record, goals) or ()
            named = {goal.metric: value for goal, value in zip(goals, found, strict=True)}
            rows.append(
                {
                    "trial": record.number,
                    "objective": profile.name,
                    "config": dict(record.config),
                    "values": named,
                }
            )
    return rows


def _unused(
    facts: StudyFacts,
    answered: Sequence[TrialRecord],
    selection: Selection,
    winners: Mapping[Quadrant, TrialRecord | None],
) -> list[str]:
    """Knobs without effect on any goal of any objective, and at their default in every winner."""
    per_objective = []
    for profile in facts.profiles:
        mine = [r for r in answered if r.objective == profile.name]
        speaks_for = [q for q in Quadrant if _served_by(facts, q) is profile]
        goals = [
            *profile.values(capacity=facts.capacity),
            *(goal for quadrant in speaks_for for goal in quadrant.goals),
        ]
        per_objective.append(unused_knobs(mine, selection.space, goals, selection.ties))
    default = selection.space.default()
    won = [winner.config for winner in winners.values() if winner is not None]
    return [
        knob
        for knob in selection.space.searched
        if all(knob in found for found in per_objective)
        and all(config[knob] == default[knob] for config in won)
    ]


def _infeasible(
    served: Sequence[TrialRecord], quadrant: Quadrant, selection: Selection
) -> dict[str, Any] | None:
    """The nearest config, the bound it misses by most, and what that bound would have to be."""
    found = nearest(served, quadrant, selection)
    if found is None:
        return None
    record, binding = found
    judgement = record.quadrants[quadrant][binding]
    direction = 1 if "<=" in binding else -1
    return {
        "nearest": {
            "config": dict(record.config),
            "trial": record.number,
            "loads": dict(record.loads),
            "sla": sla_json(record.quadrants[quadrant]),
        },
        "binding": binding,
        "price": {
            "limit": judgement.limit,
            "would_hold_at": judgement.limit * 2 ** (direction * judgement.excess),
            "verdict": str(judgement.verdict),
        },
    }
