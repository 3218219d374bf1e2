"""``tune measure``: one config under one load."""

from typing import Any

from objectives.sla import request_goodput
from results.record import judge_all
from results.summary import sla_json
from runners import EngineError
from tuner.capacity import offered_load
from tuner.errors import BadInput, EngineTrouble
from tuner.options import Options
from tuner.run import runner_of
from tuner.sizing import size_to_default
from tuner.spec import problem_of, resolve


def measure(options: Options) -> dict[str, Any]:
    """``{config, load, metrics, sla, engine}``; knobs not set take the engine's default."""
    spec, flows = resolve(options)
    if len(flows) > 1:
        raise BadInput("`tune measure` takes one objective, not all.")
    problem = problem_of(spec, tuple(flow.workload for flow in flows))
    runner = runner_of(spec)
    notes: list[str] = [note for flow in flows for note in flow.notes]
    problem = size_to_default(problem, runner, spec.sized_to_default, notes.append)
    case = problem.cases[0]
    config = problem.first[0][1]
    if broken := problem.space.broken_rules(config):
        raise BadInput(f"`{broken[0].reads}` must hold: {broken[0].reason}.")
    try:
        with runner.launch(config) as engine:
            measurement = engine.measure(offered_load(case.workload, case.profile.sla))
    except EngineError as error:
        raise EngineTrouble(str(error)) from error
    rate = case.workload.request_rate
    about = runner.description
    return {
        "config": dict(config),
        "load": {
            "objective": case.profile.name,
            "source": case.workload.source,
            "requests": len(case.workload.requests),
            "request_rate": None if case.workload.concurrency or rate == float("inf") else rate,
            "concurrency": case.workload.concurrency,
            "notes": notes,
        },
        "metrics": {
            **measurement.metrics,
            "request_goodput": request_goodput(case.profile.sla, measurement),
        },
        "sla": sla_json(judge_all(case.profile.sla, measurement)),
        "engine": {
            "engine": about.engine,
            "version": about.version,
            "simulated": about.simulated,
            "uncertainty": about.uncertainty,
            "model": spec.model.name,
            "gpu": spec.gpu.name,
            "gpus": spec.gpus,
        },
    }
