"""What is tried next: the default, presets, then TPE, with the best configs made simpler between.

Every choice follows from the seed and the trials told so far alone, so a resumed study goes on as
an uninterrupted one would: its trials have the same configs in the same order.
"""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from typing import Any

import optuna
from optuna.trial import TrialState

from objectives import Quadrant
from results.quadrants import Selection, winner
from results.record import Origin, TrialRecord
from search_spaces import Config
from tuner.problem import Case, Problem
from tuner.storage import ORIGIN

STARTUP_TRIALS = 10
KEPT_FOR = 2.0
"""An engine keeps its launch knobs until it has measured for so many times as long as launching
took. Where trials are short, launches then take a third of the engine time; where they are long,
every knob is free in every trial."""
SIMPLER_EVERY = 3
SIMPLER_AT_THE_END = 5
"""After the start, every third trial, and the last five per objective, take a knob of a winner
back to its default: only trials that differ in one knob show what that knob does."""


def ask(
    study: optuna.Study,
    problem: Problem,
    records: Sequence[TrialRecord],
    selection: Selection,
    *,
    left: int | None = None,
) -> tuple[optuna.Trial, Config, Origin]:
    """The next trial of a study, its full config and where it came from.

    Args:
        left: trials still to be answered, where that is known: the last ones make winners simpler.
    """
    case = problem.case(study.study_name.rpartition("/")[2])
    told = _told(study)
    held = _launch_settings_held(problem, records)
    if not _waiting(study):
        simplify = told % SIMPLER_EVERY == 0 or (
            left is not None and left <= SIMPLER_AT_THE_END * len(problem.cases)
        )
        simplify &= told >= STARTUP_TRIALS
        _enqueue(study, problem, case, records, selection, held if simplify else None)
    tpe = _tpe(_seed(problem.seed, case.profile.name, told))
    study.sampler = optuna.samplers.PartialFixedSampler(held, tpe) if held else tpe
    trial = study.ask()
    config = problem.space.suggest(trial)
    origin: Origin = trial.user_attrs.get(ORIGIN, "sampler")
    return trial, config, origin


def _launch_settings_held(problem: Problem, records: Sequence[TrialRecord]) -> dict[str, Any]:
    """The launch knobs of the running engine, until it has earned its launch."""
    space = problem.space
    live = [name for name in space.searched if space.knob(name).turn == "live"]
    names = [name for name in space.searched if name not in live]
    launched = [r for r in records if r.answered]
    if not (problem.reuses_engine and names and launched) or launched[-1].failure:
        return {}
    last = [launched[-1].config[name] for name in names]
    alike = list(takewhile(lambda r: [r.config[n] for n in names] == last, reversed(launched)))
    # Records of several cases share a trial, and its seconds.
    trials = {r.number: r for r in alike}.values()
    earned = sum(r.measured_s for r in trials) >= KEPT_FOR * sum(r.launch_s for r in trials)
    tried = {tuple(r.config[name] for name in live) for r in trials}
    if earned or len(tried) >= math.prod(space.searched[name].size for name in live):
        return {}
    return dict(zip(names, last, strict=True))


def _waiting(study: optuna.Study) -> bool:
    return bool(study.get_trials(deepcopy=False, states=(TrialState.WAITING,)))


def _told(study: optuna.Study) -> int:
    """Trials with an outcome. Not their number: one that was cut off and asked again has two."""
    return len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))


def turn(studies: Sequence[optuna.Study]) -> optuna.Study:
    """Whose turn it is to ask: the study with a config enqueued, else each after the other."""
    for study in studies:
        if _waiting(study):
            return study
    return studies[_told(studies[0]) % len(studies)]


def _enqueue(
    study: optuna.Study,
    problem: Problem,
    case: Case,
    records: Sequence[TrialRecord],
    selection: Selection,
    simpler_within: Mapping[str, Any] | None,
) -> None:
    """Decide the next config ourselves where TPE should not.

    Args:
        simpler_within: settings that a winner made simpler must have; ``None``: none is wanted.
    """
    tried = [r.config for r in records]
    for origin, config in problem.first:
        if config not in tried:
            enqueue(study, problem.space.settings(config), origin)
            return
    if simpler_within is not None:
        for config in _simpler(case, problem, records, selection):
            if any(config[name] != value for name, value in simpler_within.items()):
                continue
            if config not in tried and not problem.space.broken_rules(config):
                enqueue(study, problem.space.settings(config), "sampler")
                return


def enqueue(study: optuna.Study, settings: Mapping[str, Any], origin: Origin) -> None:
    """Have the study ask next for these settings of all searched knobs.

    What was asked before is asked again by its trial's own parameters: the config's are rounded,
    and TPE would go on from another number.
    """
    study.enqueue_trial(dict(settings), user_attrs={ORIGIN: origin})


def _simpler(
    case: Case, problem: Problem, records: Sequence[TrialRecord], selection: Selection
) -> Iterator[Config]:
    """Winners with one searched knob at its default, the study's own quadrant first."""
    space = problem.space
    own = [r for r in records if r.objective == case.profile.name]
    default = space.default()
    for quadrant in sorted(Quadrant, key=lambda q: q is not case.profile.quadrant):
        best = winner(own, quadrant, selection)
        for name in space.searched if best else ():
            if best and best.config[name] != default[name]:
                settings = {**space.settings(best.config), name: default[name]}
                yield space.complete(settings)


def _tpe(seed: int) -> optuna.samplers.BaseSampler:
    return optuna.samplers.TPESampler(
        multivariate=True, n_startup_trials=STARTUP_TRIALS, seed=seed
    )


def _seed(seed: int, objective: str, told: int) -> int:
    """Another stream for every trial: one seed for all would replay the same configs."""
    digest = hashlib.sha256(f"{seed}/{objective}/{told}".encode()).digest()
    return int.from_bytes(digest[:4], "big")
