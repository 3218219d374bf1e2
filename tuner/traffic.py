"""The traffic of an objective: the user's trace, the user's lengths, or the preset's own."""

import hashlib
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from objectives import Workload
from objectives.arrivals import (
    Arrivals,
    ClosedLoop,
    Constant,
    Fixed,
    Gamma,
    Lengths,
    Synthetic,
    Uniform,
    poisson,
)
from tuner.errors import BadInput
from tuner.limits import of_zero
from tuner.options import Options
from tuner.presets import Objective, preset_file
from tuner.study_file import WorkloadEntry
from tuner.traces import read_trace, workload_from
from tuner.traces.trace import Trace

LEAST_REQUESTS = 2
LONGEST_S = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """A workload, what to tell the user about it, and whether its rate is still to be set."""

    workload: Workload
    notes: tuple[str, ...]
    sized_to_default: bool
    """Offered at 70 % of the default config's capacity, which only an engine can tell."""
    redrawn: tuple[Workload, ...] = ()
    """The same traffic drawn anew: for the probes of the search, then for each pair."""


def traffic(objective: Objective, options: Options, *, longest_tokens: int) -> Traffic:
    """What the options ask for, at its own rate only if it has one.

    Raises:
        BadInput: options that do not go with the traffic, or a trace that cannot be used.
    """
    read = cache(read_trace)
    found = _once(objective, options, longest_tokens, read)
    redrawn = []
    for number in range(1 + options.pairs):
        seed = _seed(options.seed, number)
        other = _once(objective, replace(options, seed=seed), longest_tokens, read).workload
        redrawn.append(_alike(found.workload, other, seed))
    return replace(found, redrawn=tuple(redrawn))


def _seed(seed: int, number: int) -> int:
    digest = hashlib.sha256(f"{seed}/redrawn/{number}".encode()).digest()
    return int.from_bytes(digest[:4], "big")


def _alike(workload: Workload, other: Workload, seed: int) -> Workload:
    """Another draw, at the same mean rate; of a trace replayed in full, another beginning."""
    if _lengths(other) == _lengths(workload):
        first = random.Random(f"{seed}/begin").randrange(1, len(workload.requests))  # noqa: S311
        other = other.rotated(first)
    timed = workload.concurrency is None and math.isfinite(workload.request_rate)
    same = timed and math.isfinite(other.request_rate)
    return other.at_rate(workload.request_rate) if same else other


def _lengths(workload: Workload) -> list[tuple[int, int]]:
    """The same in every replay of a whole trace, however coarse its times are."""
    return [(r.input_tokens, r.output_tokens) for r in workload.requests]


def _once(
    objective: Objective, options: Options, longest_tokens: int, read: Callable[[Path], Trace]
) -> Traffic:
    name = objective.profile.name
    if options.workload is not None:
        found = _replayed(read(options.workload), name, options, None, longest_tokens)
    elif options.input_tokens is not None:
        recipe = _typed(objective.workload, options)
        found = _drawn(recipe, name, options, longest_tokens)
        found = replace(found, sized_to_default=objective.workload.arrivals.request_rate is None)
    else:
        found = _own(objective, name, options, longest_tokens, read)
    workload = _at_load(found.workload, options)
    if workload.span_s > LONGEST_S:
        raise BadInput(f"The {name} traffic lasts {workload.span_s:.3g} s; raise its rate.")
    timed = workload.concurrency is None and math.isfinite(workload.request_rate)
    sized = found.sized_to_default and timed and options.request_rate is None
    return Traffic(workload=workload, notes=found.notes, sized_to_default=sized)


def _at_load(workload: Workload, options: Options) -> Workload:
    """The load that the command line asks for, if it does."""
    if options.concurrency is not None:
        return _at_start(workload).at_concurrency(options.concurrency)
    if options.request_rate is not None:
        return workload.at_rate(options.request_rate)
    return workload


def _at_start(workload: Workload) -> Workload:
    return replace(workload, requests=tuple(replace(r, arrival_s=0.0) for r in workload.requests))


def _own(
    objective: Objective,
    name: str,
    options: Options,
    longest_tokens: int,
    read: Callable[[Path], Trace],
) -> Traffic:
    """What the objective itself says; a shipped trace says nothing of the user's rate."""
    entry = objective.workload
    if entry.trace is None:
        recipe = entry.recipe()
        if options.prefix_share is not None:
            recipe = replace(recipe, prefix_share=options.prefix_share)
        drawn = _drawn(recipe, name, options, longest_tokens)
        return replace(drawn, sized_to_default=entry.arrivals.request_rate is None)
    if options.prefix_share is not None:
        raise BadInput(
            f"--prefix-share is for synthetic traffic, but {name} replays {entry.trace}; "
            "give --input-tokens and --output-tokens."
        )
    if objective.folder is not None:
        trace = read(objective.folder / entry.trace)
        return _replayed(trace, name, options, entry, longest_tokens)
    with preset_file(entry.trace) as path:
        shipped = _replayed(read(path), name, options, entry, longest_tokens)
        return replace(shipped, sized_to_default=True)


def _replayed(
    trace: Trace, name: str, options: Options, entry: WorkloadEntry | None, longest_tokens: int
) -> Traffic:
    arrivals = entry.arrivals if entry else None
    rate = arrivals.request_rate if arrivals else None
    workload, notes = workload_from(
        trace,
        name=name,
        requests=options.requests,
        seed=options.seed,
        window=entry.window if entry else None,
        scale_tokens=options.scale_tokens * ((entry and entry.scale_tokens) or 1.0),
        request_rate=rate,
        longest_tokens=longest_tokens,
    )
    if arrivals and arrivals.process in ("closed-loop", "all-at-once"):
        workload = replace(_at_start(workload), concurrency=arrivals.concurrency)
    if (scale := options.scale_tokens) != 1.0:
        workload = replace(workload, source=f"{workload.source}, lengths x {scale:g}")
    sized = not trace.timed and rate is None
    return Traffic(workload=workload, notes=notes, sized_to_default=sized)


def _typed(entry: WorkloadEntry, options: Options) -> Synthetic:
    """Lengths given on the command line, arriving as the objective's requests do."""

    def lengths(tokens: int | None) -> Lengths:
        if options.length_spread is None:
            return Fixed(tokens or 0)
        return Uniform(tokens or 0, options.length_spread)

    arrivals = poisson(1.0) if entry.trace is not None else entry.arrivals.arrivals()
    return Synthetic(
        lengths=(lengths(options.input_tokens), lengths(options.output_tokens)),
        arrivals=arrivals,
        prefix_share=options.prefix_share or 0.0,
        source=f"lengths from the command line, {_told(arrivals)}",
    )


def _told(arrivals: Arrivals) -> str:
    match arrivals:
        case Gamma(cv=1.0):
            return "Poisson arrivals"
        case Gamma(cv=cv):
            return f"gamma arrivals (CV {cv:g})"
        case Constant():
            return "evenly spaced"
        case ClosedLoop():
            return "in a closed loop"
        case _:
            return "all at once"


def _drawn(recipe: Synthetic, name: str, options: Options, longest_tokens: int) -> Traffic:
    if options.scale_tokens != 1.0:
        raise BadInput(
            f"--scale-tokens is for traces, but the {name} traffic is synthetic; give "
            "--input-tokens and --output-tokens."
        )
    workload = recipe.workload(name, requests=options.requests, seed=options.seed)
    kept = tuple(
        r for r in workload.requests if r.input_tokens + r.output_tokens <= longest_tokens
    )
    if len(kept) < LEAST_REQUESTS:
        raise BadInput(
            f"{len(kept)} of the {options.requests} requests of the {name} traffic fit into "
            f"{longest_tokens} tokens{of_zero(len(kept))}; ask for shorter lengths or a larger "
            "max_model_len."
        )
    left_out = len(workload.requests) - len(kept)
    notes = (f"{left_out} requests longer than {longest_tokens} tokens left out",)
    return Traffic(
        workload=replace(workload, requests=kept),
        notes=notes if left_out else (),
        sized_to_default=True,
    )
