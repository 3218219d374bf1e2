"""The policy of Hugging Face's Text Generation Inference: decodes pause for a batch of prompts."""

from runners.simulated.kv_cache import BLOCK_TOKENS, blocks_for
from runners.simulated.policies.first_come import FirstCome, admit_head, grant_decodes, not_stuck
from runners.simulated.queue import WaitingQueue
from runners.simulated.scheduler import Plan, Scheduler
from runners.simulated.sequence import Sequence


class TGI(FirstCome):
    """TGI's router, ``backends/v2/src``: ``batching_task`` and ``State::next_batch``.

    The running batch is paused for a prefill of whole waiting prompts if they are at least
    ``waiting_served_ratio`` times those running, or if ``max_waiting_tokens`` tokens were decoded
    since the last one; between two such pauses there is a decode. Prompt and ``max_tokens``, each
    in whole KV blocks, are reserved at admission, so nobody is preempted. ``max_num_seqs`` is
    ``max_batch_size``.

    Keeps how long ago the last prefill was: one object per replica.
    """

    def __init__(
        self,
        *,
        # Defaults of backends/v2/src/main.rs.
        max_batch_prefill_tokens: int = 4096,
        max_batch_total_tokens: int | None = None,
        waiting_served_ratio: float = 1.2,
        max_waiting_tokens: int = 20,
    ) -> None:
        self.max_batch_prefill_tokens = max_batch_prefill_tokens
        self.max_batch_total_tokens = max_batch_total_tokens
        """``None``: what the KV cache holds, as TGI finds out when it warms up."""
        self.waiting_served_ratio = waiting_served_ratio
        self.max_waiting_tokens = max_waiting_tokens
        self._waiting_tokens = 0
        self._decode_due = False

    def plan(self, scheduler: Scheduler, now_s: float) -> Plan:
        plan = Plan(_rounded(self.max_batch_prefill_tokens))
        paused = len(scheduler.running)
        if not paused or not self._decode_due:
            self._prefill(scheduler, plan)
        if plan.tokens:
            self._waiting_tokens = 1
            self._decode_due = paused > 0
        else:
            grant_decodes(scheduler, plan)
            self._waiting_tokens += 1
            self._decode_due = False
        return not_stuck(scheduler, plan)

    def _prefill(self, scheduler: Scheduler, plan: Plan) -> None:
        running = len(scheduler.running)
        least = 0
        if running and self._waiting_tokens < self.max_waiting_tokens:
            least = int(running * self.waiting_served_ratio)
        if len(scheduler.waiting) < max(1, least):
            return
        chosen = self._next_batch(scheduler)
        if len(chosen) >= least:
            for sequence in chosen:
                admit_head(scheduler, sequence.target, plan, reserved=_reserved(sequence))

    def _next_batch(self, scheduler: Scheduler) -> list[Sequence]:
        """Those at the head of the queue that tokens, KV cache and slots have room for."""
        prefill_tokens = _rounded(self.max_batch_prefill_tokens)
        total_tokens = self._free_tokens(scheduler)
        slots = scheduler.settings.max_num_seqs - len(scheduler.running)
        chosen: list[Sequence] = []
        for sequence in _in_line(scheduler.waiting):
            prefill_tokens -= _rounded(sequence.target)
            total_tokens -= _reserved(sequence)
            if min(prefill_tokens, total_tokens) < 0 or len(chosen) >= slots:
                break
            chosen.append(sequence)
        return chosen

    def _free_tokens(self, scheduler: Scheduler) -> int:
        free = BLOCK_TOKENS * scheduler.cache.available
        if self.max_batch_total_tokens is None:
            return free
        held = sum(sequence.reserved for sequence in scheduler.running)
        return min(free, self.max_batch_total_tokens - held)


def _reserved(sequence: Sequence) -> int:
    request = sequence.request
    return _rounded(request.input_tokens) + _rounded(request.output_tokens)


def _rounded(tokens: int) -> int:
    return BLOCK_TOKENS * blocks_for(tokens)


def _in_line(waiting: WaitingQueue) -> list[Sequence]:
    """Those waiting, in order; taken out and put back, which keeps it as none was preempted."""
    sequences = [waiting.pop(gate_open=True) for _ in range(len(waiting))]
    for sequence in sequences:
        waiting.push(sequence)
    return sequences
