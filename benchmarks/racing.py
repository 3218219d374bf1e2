"""What stopping trials early saves, what it costs, and how often it is wrong.

    python -m benchmarks.racing [--trials 30] [--seeds 3] [--surfaces] [--out JSON]

Four studies of Llama 3.1 8B, or those of the simulated surfaces of `search_efficiency`. Each runs
twice with the same seed, stopping trials and measuring all of them whole. The engine is the
simulated one, its runs made noisy (`noisy.py`), so that the truth of every config is known. A stop
is wrong when the trial would, in truth, win a quadrant over the best config of that moment by more
than one per cent. Prints JSON.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import optuna
from scipy.stats import beta

from benchmarks.known_runs import KnownRuns
from benchmarks.machine import options, publish
from benchmarks.noisy import Noise, NoisyRunner
from benchmarks.noisy_studies import Study, studies
from benchmarks.search_efficiency.twins import TWINS, lay_out
from benchmarks.search_efficiency.under_test import NoFolder
from objectives import Quadrant
from results.confirmation import as_finalists
from results.quadrants import Selection, ratio_of, winner
from results.record import TrialRecord
from runners.simulated import SimulatedRunner
from tuner import answer, storage
from tuner.options import Options
from tuner.progress.silent import Silent
from tuner.records import records
from tuner.spec import resolve
from tuner.study import RACING, Loop
from tuner.trial import try_out

ONE_PER_CENT = 0.01


@dataclass(slots=True)
class Truths:
    """What a config comes to without noise, worked out once."""

    study: Study
    known: dict[str, TrialRecord] = field(default_factory=dict)

    def of(self, record: TrialRecord) -> TrialRecord:
        name = repr(sorted(record.config.items()))
        if name not in self.known:
            problem = replace(self.study.problem, noiseless=True)
            outcome = try_out(problem, self.study.runner, record.config)
            (self.known[name],) = records(
                problem, outcome, record.config, number=0, origin="sampler", launch_id=0
            )
        return self.known[name]


def ran(study: Study, noise: Noise, *, seed: int, trials: int, racing: bool) -> list[TrialRecord]:
    problem = replace(study.problem, seed=seed, noiseless=False)
    backend = optuna.storages.InMemoryStorage()
    loop = Loop(
        problem=problem,
        runner=NoisyRunner(study.runs, noise, seed=seed),
        studies=storage.studies_in(backend, study.spec, "study", problem),
        selection=answer.selection(problem),
        folder=NoFolder(),
        progress=Silent(),
        mirror=lambda record: None,
        trials=trials,
        budget_s=None,
        racing=RACING if racing else frozenset(),
    )
    loop.run()
    return [record for record in loop.records if record.answered]


def wrong(tried: Sequence[TrialRecord], selection: Selection, truths: Truths) -> list[bool]:
    """Of every trial that was stopped, whether it should not have been."""
    return [
        any(
            _wins(truths, record, winner(tried[:at], q, selection), q, selection) for q in Quadrant
        )
        for at, record in enumerate(tried)
        if record.stopped_early
    ]


def _wins(
    truths: Truths,
    record: TrialRecord,
    best: TrialRecord | None,
    quadrant: Quadrant,
    selection: Selection,
) -> bool:
    mine = truths.of(record)
    if mine.failure or not mine.serves(quadrant) or selection.space.needs_ours(record.config):
        return False
    if best is None or not truths.of(best).serves(quadrant):
        return True
    goal = quadrant.goals[0]
    return (ratio_of(mine, truths.of(best), goal) or 0.0) > 1 + ONE_PER_CENT


def regret(tried: Sequence[TrialRecord], study: Study, truths: Truths, top: float) -> float:
    """Of the winner of the study's own quadrant, against the best truth that either run met."""
    selection = _selection(study)
    quadrant = study.problem.cases[0].profile.quadrant
    best = winner(tried, quadrant, selection)
    if best is None or not truths.of(best).serves(quadrant):
        return 1.0
    value = truths.of(best).metric(quadrant.goals[0].load, quadrant.goals[0].metric) or 0.0
    worse = value / top if quadrant.goals[0].direction == "minimize" else top / max(value, 1e-9)
    return 1 - 1 / max(1.0, worse)


def _selection(study: Study) -> Selection:
    return as_finalists(answer.selection(replace(study.problem, noiseless=False)))


def _top(runs: Sequence[Sequence[TrialRecord]], study: Study, truths: Truths) -> float:
    quadrant = study.problem.cases[0].profile.quadrant
    goal = quadrant.goals[0]
    found = [
        value
        for run in runs
        for record in run
        if (mine := truths.of(record)).failure is None
        and mine.serves(quadrant)
        and not study.problem.space.needs_ours(record.config)
        and (value := mine.metric(goal.load, goal.metric)) is not None
    ]
    return (max if goal.direction == "maximize" else min)(found)


def measure(
    asked: Iterable[tuple[Study, Noise]], trials: int, seeds: int
) -> Iterator[dict[str, Any]]:
    for study, noise in asked:
        truths = Truths(study)
        selection = _selection(study)
        for seed in range(seeds):
            whole = ran(study, noise, seed=seed, trials=trials, racing=False)
            raced = ran(study, noise, seed=seed, trials=trials, racing=True)
            top = _top((whole, raced), study, truths)
            stops = wrong(raced, selection, truths)
            unstopped_s = _unstopped_s(raced, study, noise, seed)
            yield {
                "study": study.name,
                "seed": seed,
                "noise": asdict(noise),
                "measured_s": {
                    "whole": _measured_s(whole),
                    "raced": _measured_s(raced),
                    "same_trials_unstopped": unstopped_s,
                },
                "saved": 1 - _measured_s(raced) / unstopped_s,
                "stopped": len(stops),
                "wrong": sum(stops),
                "regret": {
                    "whole": regret(whole, study, truths, top),
                    "raced": regret(raced, study, truths, top),
                },
            }


def of_surfaces() -> Iterator[tuple[Study, Noise]]:
    """Each with its own noise."""
    any_spec, _ = resolve(Options(objective="chat", engine="simulated"))
    for name, twin in TWINS.items():
        laid = lay_out(twin)
        runner = SimulatedRunner(laid.deployment)
        study = Study(
            name=name, spec=any_spec, problem=laid.problem, runner=runner, runs=KnownRuns(runner)
        )
        yield study, Noise(of_run=twin.noise_of_run)


def _unstopped_s(raced: Sequence[TrialRecord], study: Study, noise: Noise, seed: int) -> float:
    """What the raced trials would have taken whole: another study's trials are other configs."""
    problem = replace(study.problem, noiseless=False)
    runner = NoisyRunner(study.runs, noise, seed=seed)
    return sum(
        try_out(problem, runner, record.config).measured_s
        if record.stopped_early
        else record.measured_s
        for record in raced
    )


def _measured_s(tried: Sequence[TrialRecord]) -> float:
    return sum(record.measured_s for record in tried)


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    stops, mistakes = (sum(row[name] for row in rows) for name in ("stopped", "wrong"))
    raced_s, unstopped_s = (
        sum(row["measured_s"][kind] for row in rows) for kind in ("raced", "same_trials_unstopped")
    )
    high = float(beta.ppf(0.975, mistakes + 1, stops - mistakes)) if stops > mistakes else 1.0
    return {
        "saved": 1 - raced_s / unstopped_s,
        "mean_saved": sum(row["saved"] for row in rows) / len(rows),
        "stops": stops,
        "wrong_stops": mistakes,
        "wrong_share_at_most_95_percent": high,
        "mean_regret": {
            kind: sum(row["regret"][kind] for row in rows) / len(rows)
            for kind in ("whole", "raced")
        },
    }


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--of-run", type=float, default=0.03, help="sd of a run's log factor")
    parser.add_argument("--surfaces", action="store_true", help="those of search_efficiency")
    asked = parser.parse_args()
    plain = ((study, Noise(of_run=asked.of_run)) for study in studies())

    def figures() -> dict[str, Any]:
        those = of_surfaces() if asked.surfaces else plain
        rows = list(measure(those, asked.trials, asked.seeds))
        return {**summary(rows), "rows": rows}

    publish(figures, asked.out)


if __name__ == "__main__":
    main()
