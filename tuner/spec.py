"""A study as asked for: every option resolved and checked, kept with the study to resume it."""

import math
import re
from dataclasses import dataclass, fields
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from objectives import Profile, Quadrant, Workload, parse_sla
from objectives.sla import Bound, ordered
from results.record import Origin
from runners.simulated import catalogue
from search_spaces import Config, Deployment, Gpu, Model, SearchSpace, Value
from search_spaces.text import parse_domain, parse_value, split
from search_spaces.vllm import default_config, preset_settings, vllm_space
from tuner import presets
from tuner.errors import BadInput
from tuner.options import Options
from tuner.problem import Case, Problem
from tuner.start_from import read_settings
from tuner.traffic import Traffic, traffic

TRIALS = 40
LENGTH_STEP_TOKENS = 256
STUDY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|d)?")
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
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
        raise BadInput(f"The study was made by another version: {error.errors()[0]}.") from error


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
    _check(options)
    found = _objectives(options)
    profiles = tuple(_profile(objective.profile, options) for objective in found)
    model, gpu = catalogue.model(options.model), catalogue.gpu(options.gpu)
    settings = {**_merged(o.settings for o in found), **_settings(options.set)}
    ranges = {**_merged(o.ranges for o in found), **dict(split(text) for text in options.range)}
    limit = _asked_length(settings, model)
    flows = tuple(
        traffic(objective, profile, options, longest_tokens=limit or model.max_position_embeddings)
        for objective, profile in zip(found, profiles, strict=True)
    )
    spec = StudySpec(
        objective=_name(options),
        profiles=profiles,
        engine="simulated",
        model=model,
        gpu=gpu,
        gpus=options.gpus,
        max_model_len=limit or _longest(flows, model),
        settings=settings,
        ranges=ranges,
        start_from=read_settings(options.start_from) if options.start_from else None,
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
    space_of(spec)
    return spec, flows


def _check(options: Options) -> None:
    if options.objective is None:
        raise BadInput(
            "--objective is needed: " + ", ".join(presets.preset_names()) + ", all or a YAML file."
        )
    if options.engine in ("vllm", "openai"):
        raise BadInput(
            f"--engine {options.engine} is not in this version; leave it out to use the "
            "simulated engine."
        )
    if options.jobs > 1:
        raise BadInput("--jobs: this version runs one trial at a time; leave it out.")
    if options.hourly_cost is not None and not 0 < options.hourly_cost < math.inf:
        raise BadInput(f"--hourly-cost must be above 0, but got {options.hourly_cost}.")
    if options.study is not None and not STUDY_NAME.fullmatch(options.study):
        raise BadInput(
            f"--study {options.study!r} must be a plain name (letters, digits, . _ + -), "
            "not a path; --output says where it goes."
        )
    if options.trials is not None and options.budget is not None:
        raise BadInput("Give --trials or --budget, not both.")


def _name(options: Options) -> str:
    objective = options.objective or ""
    return objective if objective == "all" else presets.load(objective).profile.name


def _objectives(options: Options) -> list[presets.Objective]:
    name = options.objective or ""
    if name == "mixed":
        raise BadInput("The objective `mixed` does not exist yet; take chat or summarize.")
    if name != "all":
        return [presets.load(name)]
    if options.sla is not None:
        raise BadInput("--sla belongs to one objective, but --objective is all; name one.")
    return [presets.load(quadrant.representative) for quadrant in Quadrant]


def _profile(profile: Profile, options: Options) -> Profile:
    bounds = list(profile.sla)
    if options.sla is not None:
        bounds = list(parse_sla(options.sla, source="--sla"))
    if options.deadline is not None:
        if options.documents is None:
            raise BadInput("--deadline needs --documents, the size of the batch.")
        bounds.append(Bound("makespan_s", "<=", seconds(options.deadline, "--deadline")))
    if any(bound.metric == "makespan_s" for bound in bounds) and options.documents is None:
        raise BadInput("A bound on makespan_s needs --documents, the size of the batch.")
    return Profile(name=profile.name, quadrant=profile.quadrant, sla=ordered(bounds))


def seconds(text: str, place: str) -> float:
    """Seconds of a duration such as ``30m``, ``8h`` or ``90``."""
    match = DURATION.fullmatch(text.strip().lower())
    if match is None or float(match[1]) <= 0:
        raise BadInput(f"{place}: cannot read the duration {text!r}; it reads like 30m or 8h.")
    return float(match[1]) * SECONDS[match[2] or "s"]


def _merged(dicts: Any) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for entries in dicts:
        merged |= entries
    return merged


def _settings(texts: list[str]) -> dict[str, Value]:
    settings: dict[str, Value] = {}
    for text in texts:
        name, value = split(text)
        if name in settings:
            raise BadInput(f"--set names {name} twice.")
        settings[name] = parse_value(value)
    return settings


def _asked_length(settings: dict[str, Value], model: Model) -> int | None:
    """``max_model_len`` is a requirement, not a knob; taken out of the settings."""
    asked = settings.pop("max_model_len", settings.pop("max-model-len", None))
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
    for name, value in spec.settings.items():
        space = space.fix(name, value)
    for name, text in spec.ranges.items():
        knob = space.knob(name)
        if any(space.knob(other).name == knob.name for other in spec.settings):
            raise ValueError(f"`{knob.name}` is both set and given a range; drop one.")
        space = space.free(name, parse_domain(knob, text))
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
        known = {knob.name: knob for knob in space.knobs}
        own = {n: known[n].check(v) for n, v in spec.start_from.items() if n in known}
        first.append(("transfer", space.within(own)))
    for settings in preset_settings(deployment):
        first.append(("preset", space.within(settings)))
    kept: list[tuple[Origin, Config]] = []
    for origin, config in first:
        twice = any(config == other for _, other in kept)
        if origin == "default" or not (twice or space.broken_rules(config)):
            kept.append((origin, config))
    return tuple(kept)
