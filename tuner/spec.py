"""A study as asked for: every option resolved and checked, kept with the study to resume it."""

from dataclasses import dataclass, fields, replace
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from objectives import Profile, Workload
from results.record import Origin
from runners.simulated import catalogue
from search_spaces import Config, Deployment, Gpu, Model, SearchSpace, Value
from search_spaces.text import parse_domain
from search_spaces.vllm import default_config, preset_settings, vllm_space
from tuner.asked import (
    MAX_MODEL_LEN,
    asked_knobs,
    asked_objectives,
    refuse_deadline_of_stream,
    refuse_impossible_knobs,
)
from tuner.duration import seconds
from tuner.errors import BadInput
from tuner.limits import refuse_impossible
from tuner.options import Options
from tuner.problem import Case, Problem
from tuner.rules import refuse_ruled_out
from tuner.start_from import read_settings
from tuner.traffic import Traffic, traffic

TRIALS = 40
LENGTH_STEP_TOKENS = 256
EngineName = Literal["simulated"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StudySpec:
    """All that decides a study's outcome but its workloads, which are kept beside it."""

    objective: str
    profiles: tuple[Profile, ...]
    engine: EngineName
    model: Model
    gpu: Gpu
    gpus: int
    max_model_len: int
    settings: dict[str, bool | int | float | str]
    ranges: dict[str, str]
    start_from: dict[str, bool | int | float | str] | None
    capacity: bool
    documents: int | None
    hourly_cost_usd: float | None
    trials: int | None
    budget_s: float | None
    seed: int
    requests: int
    allow_lossy: bool
    allow_scheduler_class: bool
    sized_to_default: tuple[str, ...]
    """Objectives whose offered rate is 70 % of what the default config can carry."""


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
        field.name
        for field in fields(StudySpec)
        if getattr(mine, field.name) != getattr(theirs, field.name)
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
    model, gpu = catalogue.model(options.model), catalogue.gpu(options.gpu)
    settings, ranges = asked_knobs(objectives, options)
    limit = _asked_length(settings, ranges, model)
    longest = limit or model.max_position_embeddings
    flows = tuple(traffic(o, options, longest_tokens=longest) for o in objectives)
    refuse_deadline_of_stream(objectives, flows)
    spec = StudySpec(
        objective=name,
        profiles=tuple(objective.profile for objective in objectives),
        engine="simulated",
        model=model,
        gpu=gpu,
        gpus=options.gpus,
        max_model_len=limit or _longest(flows, model),
        settings=settings,
        ranges=ranges,
        start_from=None,
        capacity=options.load == "both",
        documents=options.documents,
        hourly_cost_usd=options.hourly_cost,
        trials=options.trials or (None if options.budget else TRIALS),
        budget_s=seconds(options.budget, "--budget") if options.budget else None,
        seed=options.seed,
        requests=options.requests,
        allow_lossy=options.allow_lossy,
        allow_scheduler_class=options.allow_scheduler_class,
        sized_to_default=tuple(flow.workload.name for flow in flows if flow.sized_to_default),
    )
    refuse_impossible_knobs(objectives, vllm_space(deployment_of(spec)))
    space = space_of(spec)
    refuse_ruled_out(space, {**{k: str(v) for k, v in settings.items()}, **ranges})
    if options.start_from is None:
        return spec, flows
    return replace(spec, start_from=dict(read_settings(options.start_from, space))), flows


def _asked_length(settings: dict[str, Value], ranges: dict[str, str], model: Model) -> int | None:
    """``max_model_len`` is a requirement, not a knob; taken out of the settings."""
    if MAX_MODEL_LEN in ranges:
        raise BadInput("`max_model_len` is never searched; --set max_model_len=N says what is.")
    asked = settings.pop(MAX_MODEL_LEN, None)
    if asked is None:
        return None
    if isinstance(asked, (bool, str, float)) or not 1 < asked <= model.max_position_embeddings:
        raise BadInput(
            f"`1 < max_model_len <= {model.max_position_embeddings}` must hold for {model.name}, "
            f"but got {asked}."
        )
    return asked


def _longest(flows: tuple[Traffic, ...], model: Model) -> int:
    tokens = max(flow.workload.longest_tokens for flow in flows)
    rounded = -(-tokens // LENGTH_STEP_TOKENS) * LENGTH_STEP_TOKENS
    return min(rounded, model.max_position_embeddings)


def deployment_of(spec: StudySpec) -> Deployment:
    return Deployment(
        model=spec.model, gpu=spec.gpu, gpus=spec.gpus, max_model_len=spec.max_model_len
    )


def space_of(spec: StudySpec) -> SearchSpace:
    """The engine's space as the study narrows and widens it.

    Raises:
        ValueError: an unknown knob, an impossible value or range, or a lossy knob not allowed.
    """
    space = vllm_space(deployment_of(spec))
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
    if spec.engine == "simulated" and _leaves_default(space, "speculative_config", "none"):
        raise ValueError("`speculative_config` is not simulated yet; leave it at none.")
    return space


def _leaves_default(space: SearchSpace, name: str, default: Value) -> bool:
    return name in space.searched or space.fixed[name] != default


def problem_of(spec: StudySpec, workloads: tuple[Workload, ...]) -> Problem:
    """What the loop needs, from what is kept."""
    deployment, space = deployment_of(spec), space_of(spec)
    cases = tuple(
        Case(profile=profile, workload=workload, documents=spec.documents)
        for profile, workload in zip(spec.profiles, workloads, strict=True)
    )
    return Problem(
        objective=spec.objective,
        cases=cases,
        deployment=deployment,
        space=space,
        first=_first(spec, deployment, space),
        seed=spec.seed,
        capacity=spec.capacity,
        hourly_cost_usd=spec.hourly_cost_usd,
        allow_scheduler_class=spec.allow_scheduler_class,
    )


def _first(
    spec: StudySpec, deployment: Deployment, space: SearchSpace
) -> tuple[tuple[Origin, Config], ...]:
    """The default, the user's own, and at most two presets; none twice, none against a rule."""
    first: list[tuple[Origin, Config]] = [("default", default_config(space))]
    if spec.start_from is not None:
        first.append(("transfer", space.within(spec.start_from)))
    for settings in preset_settings(deployment):
        first.append(("preset", space.within(settings)))
    kept: list[tuple[Origin, Config]] = []
    for origin, config in first:
        twice = any(config == other for _, other in kept)
        if origin == "default" or not (twice or space.broken_rules(config)):
            kept.append((origin, config))
    return tuple(kept)
