"""Interactive requests before batch requests, each class with a queue and a limit of its own."""

from dataclasses import dataclass

from runners.simulated.policies.first_come import FirstCome, head
from runners.simulated.scheduler import Plan, Scheduler
from runners.simulated.sequence import Sequence


@dataclass(frozen=True, slots=True)
class TwoClass(FirstCome):
    """Two queues over vLLM V1's steps, for mixed traffic.

    A step serves interactive requests first (``Request.priority`` 0): those running, then those
    waiting, up to their limit. Batch requests, of any lower priority, get the tokens that are
    left; they give up their KV blocks first. A batch request overtakes waiting interactive ones
    only when those are at their limit, not when they wait for tokens or KV blocks.

    Needs ``scheduling_policy`` "priority", which orders the queue and says who is preempted.
    """

    # Batch sizes that are often given as examples: 8 for chat, 64 for documents overnight.
    interactive_requests: int = 8
    batch_requests: int = 64

    def plan(self, scheduler: Scheduler, now_s: float) -> Plan:
        _check(scheduler)
        plan = Plan(scheduler.settings.max_num_batched_tokens)
        _walk(scheduler, plan, interactive=True)
        _admit(scheduler, plan, self.interactive_requests, interactive=True)
        _walk(scheduler, plan, interactive=False)
        overtaken = []
        if _running(scheduler, interactive=True) >= self.interactive_requests:
            overtaken = _take_interactive(scheduler)
        _admit(scheduler, plan, self.batch_requests, interactive=False)
        for sequence in overtaken:
            scheduler.waiting.push(sequence)
        return plan


def _check(scheduler: Scheduler) -> None:
    if scheduler.settings.scheduling_policy != "priority":
        raise ValueError(
            '`scheduling_policy == "priority"` must hold under two classes, but got '
            f'"{scheduler.settings.scheduling_policy}"; set it in the config.'
        )


def _interactive(sequence: Sequence) -> bool:
    return sequence.request.priority <= 0


def _running(scheduler: Scheduler, *, interactive: bool) -> int:
    return sum(_interactive(sequence) == interactive for sequence in scheduler.running)


def _walk(scheduler: Scheduler, plan: Plan, *, interactive: bool) -> None:
    for sequence in list(scheduler.running):
        if plan.budget <= 0:
            return
        if sequence in plan.preempted or _interactive(sequence) != interactive:
            continue
        tokens = min(scheduler.wanted(sequence), plan.budget)
        if scheduler.make_room(sequence, tokens, plan):
            plan.grant(sequence, tokens)


def _admit(scheduler: Scheduler, plan: Plan, limit: int, *, interactive: bool) -> None:
    slots = limit - _running(scheduler, interactive=interactive)
    while slots > 0 and plan.budget > 0 and not plan.preempted:
        sequence = head(scheduler)
        if sequence is None or _interactive(sequence) != interactive:
            return
        if not _start(scheduler, sequence, plan):
            return
        scheduler.waiting.pop(gate_open=True)
        slots -= 1


def _start(scheduler: Scheduler, sequence: Sequence, plan: Plan) -> bool:
    """As vLLM V1 admits: without its cached prefix, and if all of its prompt would fit."""
    cached = scheduler.cached_tokens_of(sequence)
    tokens = scheduler.wanted(sequence, computed=cached)
    if tokens > plan.budget and not scheduler.settings.enable_chunked_prefill:
        return False
    return scheduler.admit(
        sequence, min(tokens, plan.budget), plan, cached=cached, needed=sequence.target
    )


def _take_interactive(scheduler: Scheduler) -> list[Sequence]:
    """Out of the queue, from its head; by priority they go back to where they were."""
    taken = []
    while (sequence := scheduler.waiting.head(gate_open=True)) and _interactive(sequence):
        taken.append(scheduler.waiting.pop(gate_open=True))
    return taken
