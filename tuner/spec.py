"""A study as asked for: every option resolved and checked, kept with the study to resume it."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from pydantic import TypeAdapter, ValidationError

from objectives import Profile, Workload
from results.record import Origin
from search_spaces import Config, Deployment, SearchSpace, Value
from search_spaces.openai import openai_space
from search_spaces.text import parse_domain
from search_spaces.vllm import default_config, passing_on, preset_settings, vllm_space
from search_spaces.vllm_known_bad import known_bad
from tuner.asked import (
    MAX_MODEL_LEN,
    asked_knobs,
    asked_objectives,
    refuse_deadline_of_stream,
    refuse_idle_acceptance_rate,
    refuse_impossible_knobs,
    refuse_too_few_requests,
    refuse_unsimulated_speculation,
)
from tuner.decode_floor import refuse_below_decode_floor
from tuner.duration import seconds
from tuner.errors import BadInput
from tuner.limits import refuse_impossible
from tuner.options import Options
from tuner.problem import Case, Problem
from tuner.rules import refuse_ruled_out
from tuner.start_from import read_settings
from tuner.target import Target, target, with_arguments
from tuner.traffic import Traffic, traffic

TRIALS = 40
FOUND = ("target", "calibrations")
"""Compared field by field, and what was not asked for but found."""
LENGTH_STEP_TOKENS = 256
NOT_EVERYWHERE = ("speculative_config", "kv_cache_dtype", "quantization")
"""Knobs that some builds of vLLM cannot turn every way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudySpec:
    """All that decides a study's outcome but its workloads, which are kept beside it."""

    objective: str
    profiles: tuple[Profile, ...]
    target: Target
    max_model_len: int
    settings: dict[str, bool | int | float | str]
    ranges: dict[str, str]
    start_from: dict[str, bool | int | float | str] | None
    capacity: bool
    documents: int | None
    hourly_cost_usd: float | None
    trials: int | None
    budget_s: float | None
    pairs: int
    seed: int
    requests: int
    allow_lossy: bool
    allow_scheduler_class: bool
    sized_to_default: tuple[str, ...]
    """Objectives whose offered rate is 70 % of what the default config can carry."""

    @property
    def simulated(self) -> bool:
        return self.target.engine == "simulated"


ADAPTER = TypeAdapter(StudySpec)


def to_json(spec: StudySpec) -> str:
    return ADAPTER.dump_json(spec).decode()


def from_json(text: str) -> StudySpec:
    """Read what ``to_json`` wrote.

    Raises:
        BadInput: it is something else.
    """
    try:
        return ADAPTER.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        entry = ".".join(map(str, first["loc"])) or "all of it"
        raise BadInput(
            f"The study was made by another version ({entry}: {first['msg']}); use that one."
        ) from error


def differences(mine: StudySpec, theirs: StudySpec) -> list[str]:
    """The options in which two studies differ."""
    return [
        name
        for one, other in ((mine, theirs), (mine.target, theirs.target))
        for name in (field.name for field in fields(one))
        if name not in FOUND and getattr(one, name) != getattr(other, name)
    ]


def resolve(options: Options) -> tuple[StudySpec, tuple[Traffic, ...]]:
    """Check every option and read every file named.

    Raises:
        BadInput: with what is wrong, where and how to mend it.
    """
    try:
        return _resolve(options)
    except ValueError as error:
        raise BadInput(str(error)) from error


def _resolve(options: Options) -> tuple[StudySpec, tuple[Traffic, ...]]:
    refuse_impossible(options)
    name, objectives = asked_objectives(options)
    settings, ranges = asked_knobs(objectives, options)
    asked_length = settings.pop(MAX_MODEL_LEN, None)
    found = target(options)
    if found.engine == "openai" and (turned := [*settings, *ranges]):
        raise ValueError(f"`{turned[0]}` cannot be set on a server that runs already; drop it.")
    limit = _length(asked_length, ranges, found)
    longest = limit or found.longest_tokens
    found = with_arguments(found, _arguments(found, settings, longest))
    flows = tuple(traffic(o, options, longest_tokens=longest) for o in objectives)
    refuse_deadline_of_stream(objectives, flows)
    refuse_too_few_requests(objectives, flows, options.requests)
    spec = StudySpec(
        objective=name,
        profiles=tuple(objective.profile for objective in objectives),
        target=found,
        max_model_len=limit or _longest(flows, found),
        settings={n: value for n, value in settings.items() if n not in found.arguments},
        ranges=ranges,
        start_from=None,
        capacity=options.load == "both",
        documents=options.documents,
        hourly_cost_usd=options.hourly_cost,
        trials=options.trials or (None if options.budget else TRIALS),
        budget_s=seconds(options.budget, "--budget") if options.budget else None,
        pairs=options.pairs,
        seed=options.seed,
        requests=options.requests,
        allow_lossy=options.allow_lossy,
        allow_scheduler_class=options.allow_scheduler_class,
        sized_to_default=tuple(flow.workload.name for flow in flows if flow.sized_to_default),
    )
    refuse_impossible_knobs(objectives, plain_space(found, spec.max_model_len))
    space = space_of(spec)
    refuse_idle_acceptance_rate(space, found.acceptance_rate)
    if not space.searched and options.trials is None and not spec.simulated:
        spec = replace(spec, trials=1, budget_s=None)  # there is but one config
    refuse_ruled_out(space, {**{k: str(v) for k, v in settings.items()}, **ranges})
    if options.start_from is not None:
        spec = replace(spec, start_from=dict(read_settings(options.start_from, space)))
    if found.gpu is not None:
        promises = zip(spec.profiles, (flow.workload for flow in flows), strict=True)
        refuse_below_decode_floor(promises, space, deployment_of(spec), found)
    return spec, flows


def _arguments(found: Target, settings: dict[str, Value], longest: int) -> dict[str, Value]:
    """What is set of names that no knob has: vLLM's own arguments, on a real engine."""
    if found.engine != "vllm":
        return {}
    known = plain_space(found, longest).default()
    return {name: value for name, value in settings.items() if name not in known}


def _length(asked: Value | None, ranges: dict[str, str], found: Target) -> int | None:
    """``max_model_len`` is a requirement, not a knob."""
    if MAX_MODEL_LEN in ranges:
        raise BadInput("`max_model_len` is never searched; --set max_model_len=N says what is.")
    if asked is None:
        return None
    if isinstance(asked, (bool, str, float)) or not 1 < asked <= found.longest_tokens:
        raise BadInput(
            f"`1 < max_model_len <= {found.longest_tokens}` must hold for {found.model}, "
            f"but got {asked}."
        )
    return asked


def _longest(flows: tuple[Traffic, ...], found: Target) -> int:
    tokens = max(w.longest_tokens for flow in flows for w in (flow.workload, *flow.redrawn))
    rounded = -(-tokens // LENGTH_STEP_TOKENS) * LENGTH_STEP_TOKENS
    return min(rounded, found.longest_tokens)


def deployment_of(spec: StudySpec) -> Deployment:
    return deployment(spec.target, spec.max_model_len)


def deployment(on: Target, max_model_len: int) -> Deployment:
    """
    Raises:
        ValueError: a server someone else started, of which neither model nor GPU is known.
    """
    if on.shape is None or on.gpu is None:
        raise ValueError("A server that someone else started is not laid out by us.")
    return Deployment(model=on.shape, gpu=on.gpu, gpus=on.gpus, max_model_len=max_model_len)


def plain_space(on: Target, max_model_len: int) -> SearchSpace:
    """The engine's space as it is before anyone narrows it."""
    if on.engine == "openai":
        return openai_space()
    laid_out = deployment(on, max_model_len)
    space = vllm_space(laid_out)
    if on.engine == "vllm":
        named = {*on.arguments, *NOT_EVERYWHERE}
        rules = [r for r in known_bad(laid_out) if any(name in r.reads for name in named)]
        space = replace(space, rules=(*space.rules, *rules))
    for name, value in on.arguments.items():
        space = passing_on(space, name, value)
    return space


def space_of(spec: StudySpec) -> SearchSpace:
    """The engine's space as the study narrows and widens it.

    Raises:
        ValueError: an unknown knob, an impossible value or range, or a lossy knob not allowed.
    """
    space = plain_space(spec.target, spec.max_model_len)
    for name in (*spec.settings, *spec.ranges):
        if name in space.derive(space.default()):
            raise ValueError(f"`{name}` follows from tensor_parallel_size and --gpus; set those.")
    for name, value in spec.settings.items():
        space = space.fix(name, value)
    for name, text in spec.ranges.items():
        space = space.free(name, parse_domain(space.knob(name), text))
    freed = [k for k in space.knobs if k.lossy and _leaves_default(space, k.name, k.default)]
    if freed and not spec.allow_lossy:
        names = ", ".join(f"`{knob.name}`" for knob in freed)
        raise ValueError(f"{names} may change what the model answers; add --allow-lossy.")
    if spec.simulated:
        model = deployment_of(spec).model
        refuse_unsimulated_speculation(space, model, spec.target.acceptance_rate)
    return space


def _leaves_default(space: SearchSpace, name: str, default: Value) -> bool:
    return name in space.searched or space.fixed[name] != default


def problem_of(
    spec: StudySpec,
    workloads: tuple[Workload, ...],
    redrawn: Sequence[tuple[Workload, ...]] = (),
) -> Problem:
    """What the loop needs, from what is kept.

    Args:
        redrawn: each workload drawn anew, as often as that was done.
    """
    space = space_of(spec)
    real = spec.target.engine == "vllm"
    cases = tuple(
        Case(profile=profile, workload=workload, redrawn=again, documents=spec.documents)
        for profile, workload, again in zip(
            spec.profiles, workloads, redrawn or ((),) * len(workloads), strict=True
        )
    )
    return Problem(
        objective=spec.objective,
        cases=cases,
        gpus=spec.target.gpus,
        space=space,
        first=_first(spec, space),
        seed=spec.seed,
        capacity=spec.capacity,
        hourly_cost_usd=spec.hourly_cost_usd,
        allow_scheduler_class=spec.allow_scheduler_class,
        reuses_engine=real,
        noiseless=spec.simulated,
    )


def _first(spec: StudySpec, space: SearchSpace) -> tuple[tuple[Origin, Config], ...]:
    """The default, the user's own, and at most two presets; none twice, none against a rule."""
    if spec.target.engine == "openai":
        return (("default", space.default()),)
    first: list[tuple[Origin, Config]] = [("default", default_config(space))]
    if spec.start_from is not None:
        first.append(("transfer", space.within(spec.start_from)))
    for settings in preset_settings(deployment_of(spec)):
        first.append(("preset", space.within(settings)))
    kept: list[tuple[Origin, Config]] = []
    for origin, config in first:
        twice = any(config == other for _, other in kept)
        if origin == "default" or not (twice or space.broken_rules(config)):
            kept.append((origin, config))
    return tuple(kept)
