"""One engine process: its scheduler run step by step over a step-time model."""

from collections.abc import Callable
from dataclasses import dataclass

from runners.simulated.compiled.speculation import draft_ms
from runners.simulated.policies import BATCH_POLICIES, Policy
from runners.simulated.scheduler import Plan, Scheduler
from runners.simulated.sequence import Sequence
from runners.simulated.step_time import StepTime


@dataclass(frozen=True, slots=True)
class StepEvent:
    """What one step did, by the requests' numbers, for tests and step logs."""

    start_s: float
    end_s: float
    prefills: tuple[tuple[int, int], ...]
    """(request, prompt tokens computed)."""
    decodes: tuple[int, ...]
    preempted: tuple[int, ...]


class Replica:
    """A scheduler with a clock; by default its policy is the settings' ``batch_policy``."""

    def __init__(
        self,
        scheduler: Scheduler,
        step_time: StepTime,
        observe: Callable[[StepEvent], None] | None = None,
        *,
        policy: Policy | None = None,
    ) -> None:
        self.scheduler = scheduler
        self.now_s = 0.0
        self.busy_s = 0.0
        self.running_s = 0.0
        """Integral of the number of running requests over time."""
        self.steps = 0
        self._step_time = step_time
        self._observe = observe
        self._policy = policy or BATCH_POLICIES[scheduler.settings.batch_policy]

    @property
    def busy(self) -> bool:
        return bool(self.scheduler.running) or len(self.scheduler.waiting) > 0

    @property
    def load(self) -> int:
        """What vLLM's data-parallel balancer compares: 4 x waiting + running."""
        return 4 * len(self.scheduler.waiting) + len(self.scheduler.running)

    def add(self, sequence: Sequence) -> None:
        """Queue a request at its arrival."""
        if not self.busy:
            self.now_s = max(self.now_s, sequence.arrival_s)
        self.scheduler.waiting.push(sequence)

    def advance(self, until_s: float, *, single_step: bool = False) -> list[Sequence]:
        """Run every step that starts before ``until_s``, or one; what finished, in order."""
        finished: list[Sequence] = []
        while self.busy and self.now_s < until_s:
            if not self.scheduler.running:
                admission_s = self._policy.admission_s(self.scheduler, self.now_s)
                if admission_s > self.now_s:
                    self.now_s = min(admission_s, until_s)
                    continue
            finished += self._step()
            if single_step:
                break
        return finished

    def _step(self) -> list[Sequence]:
        plan = self._policy.plan(self.scheduler, self.now_s)
        if not plan.tokens:
            if not plan.preempted:
                raise AssertionError("A step must compute or preempt something, but did neither.")
            return []  # who preempted itself before anybody was reached took no time
        start_s = self.now_s
        elapsed_s = self._elapsed_s(plan)
        self.now_s += elapsed_s
        self.busy_s += elapsed_s
        self.running_s += elapsed_s * len(self.scheduler.running)
        self.steps += 1
        if self._observe:
            self._observe(_event(plan, start_s, self.now_s, self.scheduler.running))
        return self.scheduler.book(plan, self.now_s)

    def _elapsed_s(self, plan: Plan) -> float:
        prefills = {s: tokens for s, tokens in plan.tokens.items() if not s.decoding}
        decodes = {s: tokens for s, tokens in plan.tokens.items() if s.decoding}
        batch = (
            len(prefills),
            sum(prefills.values()),
            sum(sequence.computed for sequence in prefills),
            len(decodes),
            sum(sequence.computed for sequence in decodes),
        )
        ms = self._step_time.step_ms(*batch, sum(decodes.values()) - len(decodes))
        return (ms + draft_ms(self.scheduler.speculation, *batch)) / 1000


def _event(plan: Plan, start_s: float, end_s: float, running: list[Sequence]) -> StepEvent:
    """Requests in order of admission."""
    granted = [sequence for sequence in running if sequence in plan.tokens]
    return StepEvent(
        start_s,
        end_s,
        tuple((s.index, plan.tokens[s]) for s in granted if not s.decoding),
        tuple(s.index for s in granted if s.decoding),
        tuple(sequence.index for sequence in plan.preempted),
    )
