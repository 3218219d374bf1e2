"""One engine process: its scheduler run step by step over a step-time model."""

from collections.abc import Callable
from dataclasses import dataclass

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
    """A scheduler with a clock."""

    def __init__(
        self,
        scheduler: Scheduler,
        step_time: StepTime,
        observe: Callable[[StepEvent], None] | None = None,
    ) -> None:
        self.scheduler = scheduler
        self.now_s = 0.0
        self.busy_s = 0.0
        self.running_s = 0.0
        """Integral of the number of running requests over time."""
        self.steps = 0
        self._step_ms = step_time.step_ms
        self._observe = observe

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
            admission_s = self.scheduler.admission_s(self.now_s)
            if not self.scheduler.running and admission_s > self.now_s:
                self.now_s = min(admission_s, until_s)
            elif self._only_decodes(admission_s) and not single_step:
                finished += self._decode(min(until_s, admission_s))
            else:
                finished += self._step()
                if single_step:
                    break
        return finished

    def _only_decodes(self, admission_s: float) -> bool:
        """Whether the next step decodes everything that runs and can do nothing else."""
        scheduler = self.scheduler
        return (
            self._observe is None
            and not scheduler.prefilling
            and scheduler.decodes.count <= scheduler.settings.max_num_batched_tokens
            and scheduler.decodes.blocks_due <= scheduler.cache.available
            and admission_s > self.now_s
        )

    def _decode(self, until_s: float) -> list[Sequence]:
        """Decode until somebody finishes, the time comes or KV blocks run short.

        The steps ``_step`` would make, without planning each: the simulation's hot loop.
        """
        decodes, cache, step_ms = self.scheduler.decodes, self.scheduler.cache, self._step_ms
        last, count, start_s, first = decodes.next_finish, decodes.count, self.now_s, decodes.step
        now_s = start_s
        while now_s < until_s and decodes.step < last and cache.allocate(decodes.blocks_due):
            now_s += step_ms(0, 0, 0, count, decodes.kv_tokens) / 1000
            decodes.advance()
        self.now_s = now_s
        self.busy_s += now_s - start_s
        self.running_s += (now_s - start_s) * count
        self.steps += decodes.step - first
        return self.scheduler.retire(decodes.pop_finished(), now_s)

    def _step(self) -> list[Sequence]:
        scheduler, decodes = self.scheduler, self.scheduler.decodes
        plan = scheduler.plan(self.now_s)
        for sequence in plan.starved:
            decodes.remove(sequence)
        if not plan.chunks and not (plan.decode and decodes.count):
            return self._nothing(plan)
        start_s = self.now_s
        decoding = self._decoding(plan) if self._observe else ()
        elapsed_s = self._elapsed_s(plan)
        self.now_s += elapsed_s
        self.busy_s += elapsed_s
        self.running_s += elapsed_s * len(scheduler.running)
        self.steps += 1
        if plan.decode:
            decodes.advance()
        finished = decodes.pop_finished()
        for sequence in plan.starved:
            decodes.add(sequence)
        finished += scheduler.compute(plan.chunks, self.now_s)
        if self._observe:
            chunks = tuple((sequence.index, tokens) for sequence, tokens in plan.chunks)
            preempted = tuple(sequence.index for sequence in plan.preempted)
            self._observe(StepEvent(start_s, self.now_s, chunks, decoding, preempted))
        return scheduler.retire(finished, self.now_s)

    def _nothing(self, plan: Plan) -> list[Sequence]:
        """A step in which a request preempted itself before anybody was reached takes no time."""
        if not plan.preempted:
            raise AssertionError("A step must compute or preempt something, but did neither.")
        for sequence in plan.starved:
            self.scheduler.decodes.add(sequence)
        return []

    def _decoding(self, plan: Plan) -> tuple[int, ...]:
        if not plan.decode:
            return ()
        return tuple(
            s.index for s in self.scheduler.running if s.decoding and s not in plan.starved
        )

    def _elapsed_s(self, plan: Plan) -> float:
        decodes = self.scheduler.decodes if plan.decode else None
        return (
            self._step_ms(
                len(plan.chunks),
                sum(tokens for _, tokens in plan.chunks),
                sum(sequence.computed for sequence, _ in plan.chunks),
                decodes.count if decodes else 0,
                decodes.kv_tokens if decodes else 0,
            )
            / 1000
        )
