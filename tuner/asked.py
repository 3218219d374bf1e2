"""What is asked for: the objectives with their promises, and what was said of which knob."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from objectives import Bound, Profile, Quadrant, parse_sla
from objectives.sla import ordered
from runners.simulated.drafting import drafter
from search_spaces import Choice, Model, SearchSpace, Value
from search_spaces.text import parse_domain, parse_value, plain, split
from tuner import presets
from tuner.duration import seconds
from tuner.errors import BadInput
from tuner.limits import MOST_REQUESTS
from tuner.options import Options
from tuner.presets import Objective
from tuner.traffic import Traffic

Knobs = tuple[dict[str, Value], dict[str, str]]
Said = TypeVar("Said")
MAKESPAN = "makespan_s"
MAX_MODEL_LEN = "max_model_len"
SPECULATION = "speculative_config"


def asked_objectives(options: Options) -> tuple[str, tuple[Objective, ...]]:
    """The study's objective by name, and every objective it is made of.

    Raises:
        BadInput: an objective that does not exist, or a promise that none can be held to.
    """
    name = options.objective
    if name is None:
        raise BadInput(f"--objective is needed: {', '.join(presets.preset_names())}, all or FILE.")
    if name == "mixed":
        raise BadInput("The objective `mixed` does not exist yet; take chat or summarize.")
    if name != "all":
        objective = presets.load(name)
        return objective.profile.name, (_promised(objective, options),)
    for option, given in (("--sla", options.sla), ("--deadline", options.deadline)):
        if given is not None:
            raise BadInput(f"{option} belongs to one objective, but --objective is all; name one.")
    found = (presets.load(quadrant.representative) for quadrant in Quadrant)
    return name, tuple(_promised(objective, options) for objective in found)


def _promised(objective: Objective, options: Options) -> Objective:
    """The objective with the promise of the command line."""
    profile = objective.profile
    bounds = list(profile.sla)
    if options.sla is not None:
        bounds = list(parse_sla(options.sla, source="--sla"))
    if options.deadline is not None:
        limit_s = seconds(options.deadline, "--deadline")
        bounds.append(Bound(MAKESPAN, "<=", limit_s, "--deadline"))
    if any(bound.metric == MAKESPAN for bound in bounds) and options.documents is None:
        raise BadInput(f"A bound on {MAKESPAN} needs --documents, the size of the batch.")
    sla = ordered(bounds)
    return replace(
        objective, profile=Profile(name=profile.name, quadrant=profile.quadrant, sla=sla)
    )


def refuse_deadline_of_stream(objectives: Sequence[Objective], flows: Sequence[Traffic]) -> None:
    """A batch is there all at once; how long a stream of requests takes is its own affair."""
    for objective, flow in zip(objectives, flows, strict=True):
        stream = flow.workload.concurrency is None and math.isfinite(flow.workload.request_rate)
        if stream and any(bound.metric == MAKESPAN for bound in objective.profile.sla):
            raise BadInput(
                f"The {objective.profile.name} traffic arrives over time, so that a deadline says "
                "nothing of the config; take --objective offline, or --concurrency."
            )


def refuse_too_few_requests(
    objectives: Sequence[Objective], flows: Sequence[Traffic], asked: int
) -> None:
    """A percentile of few requests says nothing, even when all of them keep its bound.

    Args:
        asked: requests wanted; a trace may have fewer.

    Raises:
        BadInput: a workload too short for a bound of its objective.
    """
    for objective, flow in zip(objectives, flows, strict=True):
        there = len(flow.workload.requests)
        for bound in objective.profile.sla:
            if (needed := bound.requests_needed) > there:
                raise BadInput(
                    f"`{bound.name}` takes at least {needed} requests, but the "
                    f"{flow.workload.name} workload has {there}: even without a miss so few "
                    "cannot tell a promise kept from one broken; give "
                    f"{_more_requests(needed, there, asked)}a lower percentile."
                )


def _more_requests(needed: int, there: int, asked: int) -> str:
    """How the workload may get them, if it may."""
    if needed > MOST_REQUESTS:
        return ""
    ways = [f"--requests {needed}"] if asked < needed else []
    if there < asked:
        ways.append("a longer trace (or shorter requests, where longer ones were left out)")
    return f"{' and '.join(ways)} or "


def asked_knobs(objectives: Sequence[Objective], options: Options) -> Knobs:
    """(fixed, ranges) by knob: the study file's, and over them the command line's.

    Raises:
        BadInput: a knob named twice in one place.
    """
    settings: dict[str, Value] = {}
    ranges: dict[str, str] = {}
    for objective in objectives:
        place = objective.file.name
        settings |= _once(((plain(k), v) for k, v in objective.settings.items()), f"{place}: set")
        ranges |= _once(((plain(k), t) for k, t in objective.ranges.items()), f"{place}: range")
        _refuse_both(settings, ranges, place)
    said = [split(text) for text in options.set]
    fixed = _once(((knob, parse_value(text)) for knob, text in said), "--set")
    freed = _once((split(text) for text in options.range), "--range")
    _refuse_both(fixed, freed, "--set and --range")
    settings = {knob: value for knob, value in settings.items() if knob not in freed}
    ranges = {knob: text for knob, text in ranges.items() if knob not in fixed}
    return {**settings, **fixed}, {**ranges, **freed}


def refuse_impossible_knobs(objectives: Iterable[Objective], space: SearchSpace) -> None:
    """Check what study files say of knobs, while it is known which line says it.

    Raises:
        BadInput: an unknown knob, or an impossible value or range.
    """
    others = {MAX_MODEL_LEN, *space.derive(space.default())}
    for objective in objectives:
        said = [(("set", name), value) for name, value in objective.settings.items()]
        said += [(("range", name), text) for name, text in objective.ranges.items()]
        for entry, value in said:
            if plain(entry[1]) not in others:
                _refuse_impossible(objective, space, entry, value)


def refuse_unsimulated_speculation(
    space: SearchSpace, model: Model, acceptance_rate: float | None
) -> None:
    """Check that a simulation knows all it needs to speculate.

    Raises:
        ValueError: the acceptance rate is missing, or a draft model is not one.
    """
    ways = speculating(space)
    if ways and acceptance_rate is None:
        raise ValueError(
            f"`{SPECULATION}` on a simulated engine needs --acceptance-rate, accepted tokens over "
            "drafted ones: it depends on the text, and a simulation has none. A study with "
            "--engine vllm measures it (acceptance_rate), and so does vLLM's own log."
        )
    for way in ways:
        drafter(way, model)


def refuse_idle_acceptance_rate(space: SearchSpace, acceptance_rate: float | None) -> None:
    """
    Raises:
        ValueError: nothing is ever drafted.
    """
    if acceptance_rate is not None and not speculating(space):
        raise ValueError(
            f"--acceptance-rate is about drafted tokens, but `{SPECULATION}` stays none; add "
            f"--set {SPECULATION}=ngram, or --range {SPECULATION}=none,ngram."
        )


def speculating(space: SearchSpace) -> list[str]:
    """The values of the knob, in the space, with which something is drafted."""
    domain = space.searched.get(SPECULATION)
    values = domain.values if isinstance(domain, Choice) else (space.fixed[SPECULATION],)
    return [str(value) for value in values if value != "none"]


def _refuse_impossible(
    objective: Objective, space: SearchSpace, entry: tuple[str, str], value: Value
) -> None:
    try:
        knob = space.knob(entry[1])
        knob.check(value) if entry[0] == "set" else parse_domain(knob, str(value))
    except ValueError as error:
        raise BadInput(f"{objective.file.place(entry)}: {error}") from error


def _once(said: Iterable[tuple[str, Said]], place: str) -> dict[str, Said]:
    found: dict[str, Said] = {}
    for knob, value in said:
        if knob in found:
            raise BadInput(f"{place} names {knob} twice; drop one.")
        found[knob] = value
    return found


def _refuse_both(settings: Mapping[str, Value], ranges: Mapping[str, str], place: str) -> None:
    for knob in settings:
        if knob in ranges:
            raise BadInput(f"{place}: `{knob}` is both set and given a range; drop one.")
