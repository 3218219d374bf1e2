"""`replica.py` and `simulation.py` over records: the loops that are called from Python."""

import numpy as np

from runners.simulated.compiled.jit import jit, kept
from runners.simulated.compiled.queue import admission_s, enqueue, opens_at_s
from runners.simulated.compiled.scheduler import compute, elapsed_s, plan
from runners.simulated.compiled.speculation import Model
from runners.simulated.compiled.state import NOBODY, Floats, Limits, Record, State


@jit
def _busy(replica: Record) -> bool:
    return replica.running + replica.fresh + replica.preempted > 0


@jit
def _advance(
    state: State, limits: Limits, model: Model, r: int, until_s: float, single_step: bool
) -> None:
    """Run every step of a replica that starts before a time, or one, as ``Replica.advance``."""
    replica = state.replicas[r]
    while _busy(replica) and replica.now_s < until_s:
        if not replica.running:
            opens_s = opens_at_s(state, limits, r)
            wakes_s = admission_s(state, limits, r, opens_s)
            if wakes_s > replica.now_s:
                replica.now_s = min(wakes_s, until_s)
                continue
        plan(state, limits, r)
        step_s = elapsed_s(state, model, r)
        replica.now_s += step_s
        replica.busy_s += step_s
        replica.running_s += step_s * replica.running
        compute(state, limits, model, r)
        if single_step:
            return


@jit
def _route(state: State, limits: Limits, one: int) -> None:
    """To the least loaded replica, as vLLM's balancer weighs them."""
    best, least = 0, 1 << 62
    for r in range(len(state.replicas)):
        replica = state.replicas[r]
        load = 4 * (replica.fresh + replica.preempted) + replica.running
        if load < least:
            best, least = r, load
    replica = state.replicas[best]
    if not _busy(replica):
        replica.now_s = max(replica.now_s, state.sequences[one].arrival_s)
    enqueue(state, limits, best, one)


@kept
def offer(state: State, limits: Limits, model: Model, first: int, last: int) -> None:
    """Let the requests from ``first`` to before ``last`` arrive, when they do."""
    for one in range(first, last):
        arrival_s = state.sequences[one].arrival_s
        for r in range(len(state.replicas)):
            _advance(state, limits, model, r, arrival_s, False)
        _route(state, limits, one)


@kept
def drain(state: State, limits: Limits, model: Model, until_s: float) -> None:
    """Run every step that starts before a time."""
    for r in range(len(state.replicas)):
        _advance(state, limits, model, r, until_s, False)


@kept
def offer_closed(
    state: State, limits: Limits, model: Model, concurrency: int, patience_s: float
) -> float:
    """The next request arrives when one finishes; writes ``arrival_s``; when the run ends."""
    number = len(state.sequences)
    sends_s = np.zeros(concurrency + number)
    waiting, sent, heard, end_s = concurrency, 0, 0, np.inf
    while True:
        place, next_s = _first(sends_s, waiting)
        behind = _behind(state, next_s)
        if behind != NOBODY:
            if state.replicas[behind].now_s >= end_s:
                return end_s
            _advance(state, limits, model, behind, min(next_s, end_s), True)
            while heard < state.finished_number[0]:
                sends_s[waiting] = state.sequences[state.finished[heard]].finish_s
                waiting += 1
                heard += 1
        elif waiting:
            waiting -= 1
            sends_s[place] = sends_s[waiting]
            if sent < number:
                state.sequences[sent].arrival_s = next_s
                _route(state, limits, sent)
                sent += 1
                end_s = next_s + patience_s if sent == number else end_s
        else:
            return end_s


@jit
def _first(sends_s: Floats, waiting: int) -> tuple[int, float]:
    """(place, time) of the next request to be sent."""
    place, first_s = NOBODY, np.inf
    for at in range(waiting):
        if sends_s[at] < first_s:
            place, first_s = at, sends_s[at]
    return place, first_s


@jit
def _behind(state: State, until_s: float) -> int:
    """The busy replica whose clock is furthest behind a time; ``NOBODY``: none is."""
    behind, now_s = NOBODY, until_s
    for r in range(len(state.replicas)):
        replica = state.replicas[r]
        if _busy(replica) and replica.now_s < now_s:
            behind, now_s = r, replica.now_s
    return behind
