"""``tune plan``: the space after its rules, what would be tried first, and what it would cost."""

from search_spaces import SearchSpace
from tuner.options import Options
from tuner.problem import Problem
from tuner.run import opening, runner_of
from tuner.spec import StudySpec, problem_of, resolve
from tuner.trial import try_out


def plan(options: Options) -> str:
    """What a study with these options would do; nothing of it is kept.

    The cost is predicted by simulating the default config.
    """
    spec, flows = resolve(options)
    problem = problem_of(spec, tuple(flow.workload for flow in flows))
    runner = runner_of(spec)
    lines = [opening(spec, problem, runner), ""]
    for flow, profile in zip(flows, spec.profiles, strict=True):
        workload = flow.workload
        bounds = ", ".join(f"{b.name} ({b.source})" for b in profile.sla) or "no bound"
        lines.append(f"{profile.name}: {len(workload.requests)} requests, {workload.source}")
        lines.append(f"  SLA: {bounds}")
        lines += [f"  {note}" for note in flow.notes]
    lines += ["", *_space(problem.space), "", "Tried first:"]
    for origin, config in problem.first:
        changed = {name: config[name] for name in problem.space.departures(config)}
        settings = ", ".join(f"{name}={value}" for name, value in changed.items())
        lines.append(f"  {origin}: {settings or 'the engine default'}")
    lines += ["", _cost(spec, problem)]
    return "\n".join(lines)


def _space(space: SearchSpace) -> list[str]:
    lines = ["Searched:"]
    for name, domain in space.searched.items():
        knob = space.knob(name)
        cost = "our scheduler class" if knob.owner == "ours" else f"{knob.turn} knob"
        lines.append(f"  {name} ({cost}; default {knob.default}): {domain}")
        lines.append(f"    {knob.about}")
    held = ", ".join(f"{name}={value}" for name, value in space.fixed.items())
    lines += [f"Held: {held}", "Rules checked before any launch:"]
    return lines + [f"  {rule.reads}: {rule.reason}" for rule in space.rules]


def _cost(spec: StudySpec, problem: Problem) -> str:
    outcome = try_out(problem, runner_of(spec), problem.first[0][1])
    if outcome.failure is not None:
        return f"The default config would fail: {outcome.failure.kind}: {outcome.failure.detail}"
    if spec.trials is None:
        return f"Predicted: {outcome.engine_s:,.0f} s of engine time a trial, by simulation."
    hours = outcome.engine_s * spec.trials / 3600
    return (
        f"Predicted: {outcome.engine_s:,.0f} s of engine time a trial, {hours:.1f} h for "
        f"{spec.trials} trials ({hours * spec.gpus:.0f} GPU-hours), by simulating the default "
        "config."
    )
