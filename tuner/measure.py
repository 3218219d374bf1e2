"""``tune measure``: one config under one load."""

import math
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from objectives import Measurement
from objectives.sla import request_goodput
from results.record import judge_all
from results.summary import sla_json
from runners import Description, EngineError, Runner
from runners.simulated.engine import SimulatedEngine
from search_spaces import Config
from tuner.certainty import Intervals, claimed, intervals_json, intervals_of
from tuner.engines import engine_of
from tuner.errors import BadInput, EngineTrouble
from tuner.options import Options
from tuner.probing import offered_load
from tuner.problem import Case
from tuner.sizing import size_to_default
from tuner.spec import StudySpec, problem_of, resolve


def measure(options: Options) -> dict[str, Any]:
    """``{config, load, metrics, sla, engine}``, and ``intervals`` of what is simulated.

    Knobs not set take the engine's default.

    Raises:
        BadInput: options that ask for several configs or loads, or a config against a rule.
        EngineTrouble: the engine cannot be started with this config.
    """
    _refuse_several(options)
    spec, flows = resolve(options)
    # A study file's ranges are for a search; here its knobs stay at their defaults.
    spec = replace(spec, ranges={})
    problem = problem_of(spec, tuple(flow.workload for flow in flows))
    config = problem.first[0][1]
    if broken := problem.space.broken_rules(config):
        rule = broken[0]
        raise BadInput(f"`{rule.reads}` must hold ({rule.reason}); {rule.mend(config)}.")
    notes = [note for flow in flows for note in flow.notes]
    with TemporaryDirectory(prefix="tune-measure-") as logs, engine_of(spec, Path(logs)) as runner:
        problem, _ = size_to_default(problem, runner, spec.sized_to_default, notes.append)
        case = problem.cases[0]
        measurement, intervals = _measured(runner, config, case)
        about = runner.description
    sla = sla_json(judge_all(case.profile.sla, measurement))
    return {
        "config": dict(config),
        "load": _load(case, notes),
        "metrics": {
            **measurement.metrics,
            "request_goodput": request_goodput(case.profile.sla, measurement),
        },
        **({"intervals": intervals_json(intervals)} if intervals else {}),
        "sla": claimed(sla, intervals),
        "engine": _engine(spec, about),
    }


def _refuse_several(options: Options) -> None:
    if options.objective == "all":
        raise BadInput("`tune measure` takes one objective, but --objective is all; name one.")
    asked = {"--range": options.range, "--start-from": options.start_from}
    if several := [option for option, given in asked.items() if given]:
        raise BadInput(f"`tune measure` takes one config: --set knobs instead of {several[0]}.")


def _measured(runner: Runner, config: Config, case: Case) -> tuple[Measurement, Intervals]:
    try:
        with runner.launch(config) as engine:
            measured = engine.measure(offered_load(case.workload, case.profile.sla))
            bounds = [bound.name for bound in case.profile.sla]
            intervals: Intervals = {}
            if isinstance(engine, SimulatedEngine):
                intervals = intervals_of(engine, case, bounds)
    except EngineError as error:
        raise EngineTrouble(str(error)) from error
    return replace(measured, documents=case.documents), intervals


def _load(case: Case, notes: list[str]) -> dict[str, Any]:
    workload = case.workload
    rate = workload.request_rate
    timed = workload.concurrency is None and math.isfinite(rate)
    return {
        "objective": case.profile.name,
        "source": workload.source,
        "requests": len(workload.requests),
        "request_rate": rate if timed else None,
        "concurrency": workload.concurrency,
        "notes": notes,
    }


def _engine(spec: StudySpec, about: Description) -> dict[str, Any]:
    return {
        "engine": about.engine,
        "version": about.version,
        "simulated": about.simulated,
        "uncertainty": about.uncertainty,
        "model": spec.target.model,
        "gpu": spec.target.hardware,
        "gpus": spec.target.gpus,
    }
