"""The program under test: every call into it that runs a study, a trial, or a choice."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna

from benchmarks.search_efficiency.surface import Truth
from objectives.sla import holds
from results.confirmation import as_finalists
from results.quadrants import winner
from results.record import TrialRecord
from runners import EngineError, Runner
from search_spaces import Config, Deployment
from tuner import answer, storage
from tuner.folder import Folder
from tuner.options import Options
from tuner.probing import offered_load
from tuner.problem import Problem
from tuner.progress.silent import Silent
from tuner.records import records
from tuner.spec import deployment_of, problem_of, resolve
from tuner.study import RACING, Loop
from tuner.trial import try_out


def problem_of_options(**options: Any) -> tuple[Problem, Deployment]:
    """A study's problem as typed, on an engine with noise."""
    spec, flows = resolve(Options(engine="simulated", **options))
    workloads, redrawn = ([getattr(f, n) for f in flows] for n in ("workload", "redrawn"))
    problem = problem_of(spec, tuple(workloads), tuple(redrawn))
    return replace(problem, noiseless=False), deployment_of(spec)


def study(
    problem: Problem, runner: Runner, *, seed: int, budget_s: float, racing: bool = True
) -> list[TrialRecord]:
    """The records of one whole study, its last winners' relaunch left out."""
    problem = replace(problem, seed=seed)
    backend = optuna.storages.InMemoryStorage()
    # Kept with the study to resume it, which nobody does here.
    any_spec, _ = resolve(Options(objective="chat", engine="simulated"))
    loop = Loop(
        problem=problem,
        runner=runner,
        studies=storage.studies_in(backend, any_spec, "study", problem),
        selection=answer.selection(problem),
        folder=NoFolder(),
        progress=Silent(),
        mirror=lambda record: None,
        trials=None,
        budget_s=budget_s,
        racing=RACING if racing else frozenset(),
    )
    loop.run()
    return [record for record in loop.records if record.answered]


def tried(problem: Problem, runner: Runner, config: Config, number: int) -> TrialRecord:
    """One config measured as a study measures it."""
    outcome = try_out(problem, runner, config)
    (record,) = records(
        problem, outcome, config, number=number, origin="sampler", launch_id=number
    )
    return record


def values(problem: Problem, record: TrialRecord) -> tuple[float | None, float | None]:
    """(throughput, latency in ms) as measured; ``None`` of what could not be."""
    throughput, latency = problem.cases[0].profile.values(capacity=problem.capacity)
    return (
        record.metric(throughput.load, throughput.metric),
        record.metric(latency.load, latency.metric),
    )


def recommended(problem: Problem, known: Sequence[TrialRecord]) -> Config | None:
    """What a study would go on to confirm after these trials."""
    selection = as_finalists(answer.selection(problem))
    best = winner(known, problem.cases[0].profile.quadrant, selection)
    return None if best is None else best.config


def truth(problem: Problem, runner: Runner, config: Config) -> Truth:
    """What is true of a config on a noiseless engine; no throughput is asked for in vain."""
    case = problem.cases[0]
    throughput, latency = case.profile.values(capacity=problem.capacity)
    try:
        with runner.launch(config) as engine:
            offered = engine.measure(offered_load(case.workload, case.profile.sla))
    except EngineError:
        return NEVER
    latency_ms = float(offered.metric(latency.metric) or NEVER.latency_ms)
    if not holds(case.profile.sla, offered):
        return Truth(0.0, latency_ms, feasible=False)
    record = tried(replace(problem, noiseless=True), runner, config, 0)
    found = record.metric(throughput.load, throughput.metric)
    return Truth(float(found or 0.0), latency_ms, feasible=True)


NEVER = Truth(0.0, 1e6, feasible=False)
"""Of a config with which nothing is answered, or that cannot be launched."""


class NoFolder(Folder):
    """A study's folder that is nowhere: what is compared is not what is written."""

    def __init__(self) -> None:
        super().__init__(Path("/nowhere"))

    def append(self, records: Sequence[TrialRecord]) -> None:
        pass

    def settle(self, records: Sequence[TrialRecord]) -> None:
        pass

    def write_requests(self, number: int, loads: Any) -> None:
        pass
