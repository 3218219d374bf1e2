"""Finalists beside the default config, on traffic that the search never saw: is there a gain?

In each pair either is launched from its file, in turns, under the same fresh draw of the traffic.
A gain is claimed when the two-sided 95 % interval of the paired log ratio excludes 0, corrected
(Holm) over the quadrants reported, and the finalist keeps the quadrant's SLA.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from objectives import Goal, Quadrant, Verdict
from results.comparison import Comparison, Effect, effects, holm, paired
from results.quadrants import Selection, deciding_goal, ratio_of, winner
from results.record import TrialRecord
from results.ties import Ties

DEFAULT = "default"
FINE_TIE = 0.01
"""A finalist must look better than the default by more than this; the pairs tell the rest."""
Outcome = Literal["gain", "no significant gain", "loss", "breaks its SLA", "not measured"]
OUTCOMES: Mapping[Effect, Outcome] = {
    Effect.BETTER: "gain",
    Effect.WORSE: "loss",
    Effect.NOT_SHOWN: "no significant gain",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finalist:
    """The one config of a quadrant that is measured again, fixed before that is done."""

    quadrant: Quadrant
    objective: str
    trial: int
    goal: Goal
    """By which it looked better than the default."""

    @property
    def arm(self) -> str:
        return arm_of(self.trial)


def arm_of(trial: int) -> str:
    """What is measured in turns: a trial's config, ``DEFAULT``, or a mode of the engine's."""
    return f"trial {trial}"


def as_finalists(selection: Selection) -> Selection:
    """By the figures alone: what is only tied may still be better, and the pairs will tell."""
    return selection.finer(FINE_TIE)


def finalists(
    served_by: Mapping[Quadrant, Sequence[TrialRecord]], selection: Selection
) -> list[Finalist]:
    """Of each quadrant whose best config is not the default."""
    found = []
    for quadrant, records in served_by.items():
        best = winner(records, quadrant, as_finalists(selection))
        if best and best.origin != DEFAULT and selection.space.turned(best.config):
            goal = _looked_better_by(best, records, quadrant)
            finalist = Finalist(
                quadrant=quadrant, objective=best.objective, trial=best.number, goal=goal
            )
            found.append(finalist)
    return found


def _looked_better_by(
    best: TrialRecord, records: Sequence[TrialRecord], quadrant: Quadrant
) -> Goal:
    default = next((r for r in records if r.origin == DEFAULT and r.complete), None)
    decided = default and deciding_goal(best, default, quadrant, Ties(FINE_TIE, intervals=False))
    return decided[0] if decided else quadrant.goals[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """What the pairs say of a finalist."""

    finalist: Finalist
    outcome: Outcome
    comparison: Comparison | None
    """Of its goal, over the default; above 1 is better. ``None``: no two pairs to compare."""
    p_holm: float | None
    kept: int
    """Of its runs, those in which the quadrant's SLA was not broken."""
    runs: int
    modes: Mapping[str, Comparison]
    """Of the same goal, the engine's own modes over the default."""

    @property
    def decided(self) -> bool:
        """Whether it was measured, whatever came of it."""
        return self.outcome != "not measured"

    def to_json(self) -> dict[str, Any]:
        finalist, comparison = self.finalist, self.comparison
        return {
            "trial": finalist.trial,
            "objective": finalist.objective,
            "goal": finalist.goal.metric,
            "outcome": self.outcome,
            **(asdict(comparison) if comparison else {}),
            "p_holm": self.p_holm,
            "sla_kept": self.kept,
            "runs": self.runs,
            "modes": {mode: asdict(found) for mode, found in self.modes.items()},
        }


def elected(
    records: Sequence[TrialRecord],
    quadrant: Quadrant,
    selection: Selection,
    known: Mapping[Quadrant, Confirmation] | None,
) -> TrialRecord | None:
    """Who wins a quadrant: its finalist where that gains, else the default where that will do.

    Before any finalist was fixed, the best of the search.
    """
    confirmation = known.get(quadrant) if known is not None else None
    if known is None:
        return winner(records, quadrant, selection)
    finest = winner(records, quadrant, as_finalists(selection))
    if confirmation is None or finest is None:
        return finest
    default = next((r for r in records if r.origin == DEFAULT and r.complete), None)
    stays = default is not None and default.serves(quadrant)
    if stays and confirmation.outcome not in ("gain", "not measured"):
        return default
    return next(r for r in records if r.number == confirmation.finalist.trial)


def confirm(finalists: Sequence[Finalist], runs: Sequence[TrialRecord]) -> list[Confirmation]:
    """Judge each finalist by its runs and those of the default in the same pairs."""
    compared = [_compared(f, f.arm, runs) for f in finalists]
    found = [comparison for comparison in compared if comparison]
    judged = iter(zip(holm([c.p_value for c in found]), effects(found), strict=True))
    return [
        _confirmed(finalist, comparison, next(judged) if comparison else None, runs)
        for finalist, comparison in zip(finalists, compared, strict=True)
    ]


def _confirmed(
    finalist: Finalist,
    found: Comparison | None,
    judged: tuple[float, Effect] | None,
    runs: Sequence[TrialRecord],
) -> Confirmation:
    mine = _runs(finalist, finalist.arm, runs)
    kept = sum(_keeps(run, finalist.quadrant) for run in mine.values())
    modes = {run.arm for run in runs} - {DEFAULT} - {arm_of(run.number) for run in runs}
    compared = {mode: _compared(finalist, mode, runs) for mode in sorted(modes)}
    return Confirmation(
        finalist=finalist,
        outcome=_outcome(judged and judged[1], kept, len(mine)),
        comparison=found,
        p_holm=judged and judged[0],
        kept=kept,
        runs=len(mine),
        modes={mode: ratio for mode, ratio in compared.items() if ratio},
    )


def _outcome(effect: Effect | None, kept: int, runs: int) -> Outcome:
    if 2 * kept < runs:
        return "breaks its SLA"
    return "not measured" if effect is None else OUTCOMES[effect]


def _keeps(run: TrialRecord, quadrant: Quadrant) -> bool:
    judged = run.quadrants.get(quadrant, {}).values()
    return run.failure is None and all(j.verdict is not Verdict.BROKEN for j in judged)


def _compared(finalist: Finalist, arm: str, runs: Sequence[TrialRecord]) -> Comparison | None:
    """An arm over the default, by the finalist's goal, in the pairs that have both."""
    goal = finalist.goal
    mine, default = _runs(finalist, arm, runs), _runs(finalist, DEFAULT, runs)
    ratios = [
        ratio
        for pair in sorted(mine.keys() & default.keys())
        if (ratio := ratio_of(mine[pair], default[pair], goal))
    ]
    return paired(ratios) if len(ratios) > 1 else None


def _runs(finalist: Finalist, arm: str, runs: Sequence[TrialRecord]) -> dict[int, TrialRecord]:
    """By pair."""
    mine = [r for r in runs if r.arm == arm and r.objective == finalist.objective]
    return {r.pair: r for r in mine if r.pair is not None}
