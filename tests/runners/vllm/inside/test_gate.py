"""The gate inside the engine lets in whom the simulated engine's queue lets in."""

import math
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objectives import Request
from runners.simulated.queue import WaitingQueue
from runners.simulated.sequence import Sequence
from runners.simulated.settings import SchedulerSettings

Modules = Callable[[str], Any]
SEQS = 4

KNOBS = st.fixed_dictionaries(
    {
        "batch_policy": st.sampled_from(["continuous", "prefill_first", "static"]),
        "batch_wait_timeout_ms": st.sampled_from([0, 1500]),
        "batch_wait_min_requests": st.sampled_from([0, 2, 3]),
    }
)
EVENTS = st.lists(st.sampled_from(["arrive", "step", "preempt", "finish", "full"]), max_size=60)


class Both:
    """One queue of the simulated engine, and the same requests before the gate."""

    def __init__(self, modules: Modules, knobs: dict[str, Any]) -> None:
        self.twin = WaitingQueue(
            SchedulerSettings(max_num_seqs=SEQS, max_num_batched_tokens=64, **knobs)
        )
        settings = modules("paretune_settings").Settings(
            max_num_seqs=SEQS, max_num_batched_tokens=64, **knobs
        )
        self.gate = modules("paretune_gate").Gate(settings)
        self.queue: list[Sequence] = []
        self.running: list[Sequence] = []
        self.now_s = 0.0
        self._numbers = count()

    def arrive(self) -> None:
        sequence = Sequence(next(self._numbers), Request(self.now_s, 8, 2), self.now_s)
        self.twin.push(sequence)
        self.queue.append(sequence)

    def preempt(self) -> None:
        if self.running:
            victim = self.running.pop()
            victim.preemptions += 1
            self.twin.push(victim)
            self.queue.insert(0, victim)

    def finish(self) -> None:
        self.running = self.running[1:]

    def full(self) -> None:
        self.twin.close_batch()
        self.gate.close_batch()

    def step(self) -> None:
        """Both admit one request after the other; never others, never in another order."""
        opens_s = self.twin.opens_at_s(len(self.running))
        oldest_s = min((s.arrival_s for s in self.queue if not s.preemptions), default=math.inf)
        preempted = sum(s.preemptions > 0 for s in self.queue)
        ours_s = self.gate.opens_at_s(
            running=len(self.running),
            preempted=preempted,
            waiting=len(self.queue),
            oldest_s=lambda: oldest_s,
        )
        if self.queue:
            assert ours_s == opens_s
        gate_open = opens_s <= self.now_s
        if gate_open and not self.running:
            self.twin.form_batch()
            if self.gate.static and not preempted:
                self.gate.form_batch(str(s.index) for s in self.queue if not s.preemptions)
        while len(self.running) < SEQS:
            admitted = self._admitted(gate_open)
            assert self.twin.head(gate_open=gate_open) is admitted
            if admitted is None:
                return
            self.twin.pop(gate_open=gate_open)
            self.queue.remove(admitted)
            self.gate.joining.discard(str(admitted.index))
            self.running.append(admitted)

    def _admitted(self, gate_open: bool) -> Sequence | None:
        def admits(sequence: Sequence) -> bool:
            preempted = sequence.preemptions > 0
            admitted: bool = self.gate.admits(
                str(sequence.index), preempted=preempted, gate_open=gate_open
            )
            return admitted

        return next(filter(admits, self.queue), None)


@given(knobs=KNOBS, events=EVENTS)
def test_the_gate_admits_whom_the_simulated_engine_admits(
    modules: Modules, knobs: dict[str, Any], events: list[str]
) -> None:
    both = Both(modules, knobs)
    for event in events:
        getattr(both, event)()
        both.now_s += 0.5


@pytest.mark.parametrize("policy", ["continuous", "static"])
def test_a_gate_without_a_timeout_is_open_while_nothing_runs(
    modules: Modules, policy: str
) -> None:
    settings = modules("paretune_settings").Settings(
        max_num_seqs=4, max_num_batched_tokens=64, batch_policy=policy
    )
    gate = modules("paretune_gate").Gate(settings)
    assert gate.opens_at_s(running=0, preempted=0, waiting=1, oldest_s=lambda: 7.0) == 0.0


def test_a_turned_policy_forgets_the_static_batch(modules: Modules) -> None:
    settings = modules("paretune_settings").Settings(
        max_num_seqs=4, max_num_batched_tokens=64, batch_policy="static"
    )
    gate = modules("paretune_gate").Gate(settings)
    gate.form_batch("abcdef")
    assert gate.joining == set("abcd")
    gate.turn(modules("dataclasses").replace(settings, batch_policy="continuous"))
    assert gate.joining == set()
