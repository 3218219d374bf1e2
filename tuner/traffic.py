"""The traffic of an objective: the user's trace, the user's lengths, or the preset's own."""

import math
from dataclasses import dataclass, replace
from pathlib import Path

from objectives import Profile, Workload
from objectives.arrivals import AllAtOnce, ClosedLoop, Fixed, Lengths, Synthetic, Uniform, poisson
from tuner.errors import BadInput
from tuner.options import Options
from tuner.presets import Objective, WorkloadEntry, preset_file
from tuner.traces import read_trace, workload_from

LEAST_REQUESTS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """A workload, what to tell the user about it, and whether its rate is still to be set."""

    workload: Workload
    notes: tuple[str, ...]
    sized_to_default: bool
    """Offered at 70 % of the default config's capacity, which only an engine can tell."""


def traffic(
    objective: Objective, profile: Profile, options: Options, *, longest_tokens: int
) -> Traffic:
    """What the options ask for; at its own rate only if it has one.

    Raises:
        BadInput: options that exclude each other, or a trace that cannot be used.
    """
    _check(options)
    if options.workload is not None:
        workload, notes = _replayed(
            options.workload, profile.name, options, WorkloadEntry(), longest_tokens
        )
        own_rate = True
    elif options.input_tokens is not None:
        workload, notes = _drawn(_typed(options), profile.name, options, longest_tokens)
        own_rate = False
    else:
        workload, notes = _preset(objective, profile.name, options, longest_tokens)
        own_rate = objective.workload.arrivals.request_rate is not None
    if options.concurrency is not None:
        workload = replace(_at_start(workload), concurrency=options.concurrency)
    elif options.request_rate is not None and not math.isinf(options.request_rate):
        workload = workload.at_rate(options.request_rate)
    timed = workload.concurrency is None and math.isfinite(workload.request_rate)
    given = own_rate or options.request_rate is not None
    return Traffic(workload=workload, notes=notes, sized_to_default=timed and not given)


def _check(options: Options) -> None:
    if options.request_rate is not None and options.concurrency is not None:
        raise BadInput("Give --request-rate or --concurrency, not both.")
    if options.request_rate is not None and not 0 < options.request_rate < math.inf:
        raise BadInput(f"--request-rate must be above 0, but got {options.request_rate}.")
    if (options.input_tokens is None) != (options.output_tokens is None):
        raise BadInput("--input-tokens and --output-tokens go together; give both.")
    if options.workload is not None and options.input_tokens is not None:
        raise BadInput("Give --workload or --input-tokens and --output-tokens, not both.")
    if options.length_spread is not None and options.input_tokens is None:
        raise BadInput("--length-spread needs --input-tokens and --output-tokens.")
    if options.prefix_share is not None and options.workload is not None:
        raise BadInput("--prefix-share is for synthetic traffic; a trace brings its own prefixes.")
    if options.requests < LEAST_REQUESTS:
        raise BadInput(
            f"--requests must be at least {LEAST_REQUESTS}, but got {options.requests}."
        )


def _at_start(workload: Workload) -> Workload:
    return replace(workload, requests=tuple(replace(r, arrival_s=0.0) for r in workload.requests))


def _preset(
    objective: Objective, name: str, options: Options, longest_tokens: int
) -> tuple[Workload, tuple[str, ...]]:
    entry = objective.workload
    if entry.trace is None:
        recipe = entry.recipe()
        if options.prefix_share is not None:
            recipe = replace(recipe, prefix_share=options.prefix_share)
        return _drawn(recipe, name, options, longest_tokens)
    if objective.folder is not None:
        path = objective.folder / entry.trace
        return _replayed(path, name, options, entry, longest_tokens)
    with preset_file(entry.trace) as path:
        return _replayed(path, name, options, entry, longest_tokens)


def _replayed(
    path: Path, name: str, options: Options, entry: WorkloadEntry, longest_tokens: int
) -> tuple[Workload, tuple[str, ...]]:
    return workload_from(
        read_trace(path),
        name=name,
        requests=options.requests,
        seed=options.seed,
        window=entry.window,
        scale_tokens=entry.scale_tokens * options.scale_tokens,
        longest_tokens=longest_tokens,
    )


def _typed(options: Options) -> Synthetic:
    """Lengths given on the command line."""

    def lengths(tokens: int | None) -> Lengths:
        if options.length_spread is None:
            return Fixed(tokens or 0)
        return Uniform(tokens or 0, options.length_spread)

    return Synthetic(
        lengths=(lengths(options.input_tokens), lengths(options.output_tokens)),
        arrivals=poisson(1.0),
        prefix_share=options.prefix_share or 0.0,
        source="lengths from the command line, Poisson arrivals",
    )


def _drawn(
    recipe: Synthetic, name: str, options: Options, longest_tokens: int
) -> tuple[Workload, tuple[str, ...]]:
    if options.scale_tokens != 1.0:
        raise BadInput("--scale-tokens is for traces; synthetic lengths are given directly.")
    workload = recipe.workload(name, requests=options.requests, seed=options.seed)
    kept = tuple(
        r for r in workload.requests if r.input_tokens + r.output_tokens <= longest_tokens
    )
    if len(kept) < LEAST_REQUESTS:
        raise BadInput(
            f"No request of the {name} traffic fits into {longest_tokens} tokens; ask for "
            "shorter lengths or a larger max_model_len."
        )
    left_out = len(workload.requests) - len(kept)
    notes = (f"{left_out} requests longer than {longest_tokens} tokens left out",)
    if isinstance(recipe.arrivals, (AllAtOnce, ClosedLoop)):
        kept = tuple(replace(r, arrival_s=0.0) for r in kept)
    return replace(workload, requests=kept), notes if left_out else ()
