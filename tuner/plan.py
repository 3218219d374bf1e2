"""``tune plan``: the space after its rules, what would be tried first, and what it would cost."""

from objectives import Bound
from runners import Runner
from search_spaces import SearchSpace, Value
from tuner.budget import LEAST_ARMS, expected_turn_s
from tuner.engines import predictor
from tuner.options import Options
from tuner.problem import Case, Problem
from tuner.run import opening
from tuner.sizing import size_to_default
from tuner.spec import StudySpec, problem_of, resolve
from tuner.trial import Outcome, try_out


def plan(options: Options) -> str:
    """What a study with these options would do; nothing of it is kept."""
    spec, flows = resolve(options)
    problem = problem_of(
        spec, tuple(flow.workload for flow in flows), tuple(flow.redrawn for flow in flows)
    )
    runner = predictor(spec)
    notes: list[str] = []
    if runner:
        problem, _ = size_to_default(problem, runner, spec.sized_to_default, notes.append)
    elif spec.sized_to_default:
        notes.append(
            "The offered load will be 70 % of what the default config can carry, measured first "
            "(--request-rate sets another)."
        )
    lines = [_opening(spec, runner), ""]
    for flow, case in zip(flows, problem.cases, strict=True):
        lines += [*_case(case), *(f"  {note}" for note in flow.notes)]
    lines += [*notes, "", *_space(problem.space), "", "Tried first:"]
    lines += [f"  {line}" for line in _first(problem)]
    return "\n".join([*lines, "", _cost(spec, problem, runner)])


def _case(case: Case) -> list[str]:
    workload, name = case.workload, case.profile.name
    bounds = ", ".join(_told(bound) for bound in case.profile.sla)
    return [
        f"{name}: {len(workload.requests)} requests, {workload.source}",
        f"  SLA: {bounds or 'no bound'}",
    ]


def _told(bound: Bound) -> str:
    return f"{bound.name} ({bound.source})" if bound.source else bound.name


def _space(space: SearchSpace) -> list[str]:
    lines = ["Searched:"] if space.searched else ["Searched: nothing, every knob is set."]
    for name, domain in space.searched.items():
        knob = space.knob(name)
        cost = "our scheduler class" if knob.owner == "ours" else f"{knob.turn} knob"
        lossy = ", may change answers" if knob.lossy else ""
        lines.append(f"  {name}: {domain} (default {_text(knob.default)}; {cost}{lossy})")
        lines.append(f"    {knob.about}")
    held = ", ".join(f"{name}={_text(value)}" for name, value in space.fixed.items())
    lines += [f"Held: {held or 'nothing'}", "Rules that every config must keep:"]
    return lines + [f"  {rule.reads}: {rule.reason}" for rule in space.rules]


def _text(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _first(problem: Problem) -> list[str]:
    """The configs tried before any search, by where they depart from the engine's defaults."""
    lines = []
    for origin, config in problem.first:
        changed = problem.space.departures(config)
        settings = ", ".join(f"{name}={_text(config[name])}" for name in changed)
        broken = problem.space.broken_rules(config)
        ruled_out = f" (ruled out: {broken[0].reads})" if broken else ""
        lines.append(f"{origin}: {settings or 'the engine as it comes'}{ruled_out}")
    return lines


def _opening(spec: StudySpec, runner: Runner | None) -> str:
    if runner and spec.simulated:
        return opening(spec, runner)
    target = spec.target
    where = f"{target.model} on {target.gpus} x {target.hardware}"
    return f"Engine {target.engine}: {where}; nothing of it is launched for a plan."


def _cost(spec: StudySpec, problem: Problem, runner: Runner | None) -> str:
    """Predicted by simulating the default config."""
    if runner is None:
        return "What it would cost is not predicted: this hardware is not simulated."
    outcome = try_out(problem, runner, problem.first[0][1])
    if outcome.failure is not None:
        return f"The default config would fail: {outcome.failure.kind}: {outcome.failure.detail}."
    each_s, confirming_s = outcome.engine_s, LEAST_ARMS * spec.pairs * _turn_s(outcome)
    told = (
        f"Predicted: {each_s:,.0f} s of engine time a trial that is measured whole and "
        f"{confirming_s:,.0f} s to confirm a finalist: "
    )
    if spec.trials is None:
        trials = max(1, int(((spec.budget_s or 0) - confirming_s) / each_s))
        return f"{told}at least {trials:,} trials in the budget, by simulating the default config."
    hours = (each_s * spec.trials + confirming_s) / 3600
    return (
        f"{told}at most {hours:.1f} h for {spec.trials} trials "
        f"({hours * spec.target.gpus:.1f} GPU-hours), by simulating the default config."
    )


def _turn_s(outcome: Outcome) -> float:
    """Of one launch of the confirmation."""
    found = [m.capacity for m in outcome.measured.values() if m.capacity]
    probes = max((len(capacity.probes) for capacity in found), default=0)
    return expected_turn_s(outcome.launch_s, outcome.measured_s, probes)
