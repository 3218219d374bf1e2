"""Make the workload of a study from a trace: cut, scaled, and the same for the same seed."""

import math
import random
from collections.abc import Sequence
from dataclasses import replace

from objectives.arrivals import Empirical, Synthetic, poisson
from objectives.workload import Request, Workload
from tuner.errors import BadInput
from tuner.limits import of_zero
from tuner.traces.cuts import Notes, scaled, short_enough, spread, within
from tuner.traces.trace import Trace

LARGEST_SCALE = 1000.0


def workload_from(
    trace: Trace,
    *,
    name: str,
    requests: int,
    seed: int,
    window: tuple[float, float] | None = None,
    scale_tokens: float = 1.0,
    request_rate: float | None = None,
    longest_tokens: int | None = None,
) -> tuple[Workload, Notes]:
    """The workload, and notes for the user on what was left out or made up.

    Args:
        requests: how many to replay; all when the trace has fewer.
        window: from and to (not included) in seconds of the trace.
        longest_tokens: input and output of the longest request to keep, after scaling.

    Raises:
        BadInput: a setting breaks its invariant, or too few requests are left.
    """
    _check(requests, window, scale_tokens, request_rate, longest_tokens)
    kept, window_notes = within(trace, window)
    kept = [scaled(request, scale_tokens, trace.block_tokens) for request in kept]
    kept, tick_notes = spread(kept, trace.tick_s, seed)
    kept, length_notes = short_enough(kept, longest_tokens)
    _refuse_too_few(kept, trace)
    make = _replayed if trace.timed else _drawn
    workload, notes = make(kept, trace, name, requests, seed)
    if request_rate is not None:
        workload = _at_rate(workload, request_rate)
    return workload, (*_skipped(trace), *window_notes, *tick_notes, *length_notes, *notes)


def _check(
    requests: int,
    window: tuple[float, float] | None,
    scale_tokens: float,
    request_rate: float | None,
    longest_tokens: int | None,
) -> None:
    start_s, end_s = window or (0.0, math.inf)
    for holds, invariant, given in (
        (requests >= 2, "requests >= 2", requests),
        (0 <= start_s < end_s, "0 <= start < end of the window", window),
        (
            0 < scale_tokens <= LARGEST_SCALE,
            f"0 < scale_tokens <= {LARGEST_SCALE:g}",
            scale_tokens,
        ),
        (request_rate is None or request_rate > 0, "request_rate > 0", request_rate),
        (longest_tokens is None or longest_tokens >= 2, "longest_tokens >= 2", longest_tokens),
    ):
        if not holds:
            raise BadInput(f"`{invariant}` must hold, but got {given}; change it.")


def _skipped(trace: Trace) -> Notes:
    return tuple(
        f"{rows:,} of {trace.rows:,} rows left out: {reason}"
        for reason, rows in trace.skipped.items()
    )


def _refuse_too_few(kept: Sequence[Request], trace: Trace) -> None:
    if len(kept) < (2 if trace.timed else 1):
        raise BadInput(
            f"`longest_tokens` leaves {len(kept)} of the requests of {trace.name}"
            f"{of_zero(len(kept))}; a replay needs at least two requests, so raise it "
            "or lower `scale_tokens`."
        )


def _replayed(
    kept: Sequence[Request], trace: Trace, name: str, requests: int, seed: int
) -> tuple[Workload, Notes]:
    """A contiguous stretch, so that bursts and shared prefixes stay as they were."""
    start = 0
    notes: Notes = ()
    if len(kept) > requests:
        start = random.Random(f"{seed}/stretch").randrange(len(kept) - requests + 1)  # noqa: S311
        notes = (
            f"requests {start + 1:,} to {start + requests:,} of {len(kept):,} are replayed "
            "(picked by the seed)",
        )
    elif len(kept) < requests:
        notes = (f"all {len(kept):,} requests are replayed, fewer than the {requests:,} wanted",)
    stretch = kept[start : start + requests]
    first_s = stretch[0].arrival_s
    workload = Workload(
        name=name,
        requests=tuple(replace(r, arrival_s=r.arrival_s - first_s) for r in stretch),
        block_tokens=trace.block_tokens,
        source=_source(trace),
    )
    return workload, notes


def _drawn(
    kept: Sequence[Request], trace: Trace, name: str, requests: int, seed: int
) -> tuple[Workload, Notes]:
    lengths = Empirical(tuple((r.input_tokens, r.output_tokens) for r in kept))
    recipe = Synthetic(lengths=lengths, arrivals=poisson(1.0), source=_source(trace))
    workload = recipe.workload(name, requests=requests, seed=seed)
    notes: Notes = (
        f"{requests:,} pairs of lengths are drawn from {len(kept):,} with the seed",
        "arrivals are Poisson because the file has none",
    )
    if any(request.blocks for request in kept):
        notes += ("the file's shared prefixes are not replayed",)
    return workload, notes


def _source(trace: Trace) -> str:
    return f"{trace.name} ({trace.format})"


def _at_rate(workload: Workload, request_rate: float) -> Workload:
    if math.isinf(workload.request_rate) and math.isfinite(request_rate):
        raise BadInput(
            f"the requests replayed from {workload.source} all arrive at once, which no "
            "`request_rate` can stretch; drop it or choose another window."
        )
    try:
        return workload.at_rate(request_rate)
    except ValueError:
        raise BadInput(
            f"`request_rate` = {request_rate:g} puts arrivals beyond any time; raise it."
        ) from None
