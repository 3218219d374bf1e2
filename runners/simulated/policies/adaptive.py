"""vLLM V1 with a batch size that a controller keeps near a latency."""

from dataclasses import replace
from statistics import fmean

from runners.simulated.policies.vllm_v1 import VllmV1
from runners.simulated.scheduler import Plan, Scheduler
from runners.simulated.sequence import Sequence

# The rule of thumb as it is usually given for adaptive batch sizes.
TOO_SLOW = 1.2
FAST = 0.5
STEP_REQUESTS = 4
MANY_QUEUED = 10


class Adaptive(VllmV1):
    """Adds to ``max_num_seqs``, or takes from it, as recent requests were fast or slow.

    Recent latency is the mean E2EL of the last ``window`` requests that finished, judged anew each
    time as many more have. Over 1.2 x the target there are 4 fewer slots, but 1 at least; under
    0.5 x, with more than 10 requests queued, 4 more, up to ``max_requests``; otherwise they stay.
    It starts from the settings' ``max_num_seqs``. Nobody is preempted for it: with fewer slots
    than running requests, nobody is admitted.

    Keeps the controller's state: one object per replica.
    """

    def __init__(self, *, target_ms: float, max_requests: int, window: int) -> None:
        self.target_ms = target_ms
        self.max_requests = max_requests
        self.window = window
        self._in_flight: list[Sequence] = []
        self._recent_ms: list[float] = []

    def plan(self, scheduler: Scheduler, now_s: float) -> Plan:
        self._listen()
        if len(self._recent_ms) >= self.window:
            requests = self._batch_size(scheduler)
            scheduler.settings = replace(scheduler.settings, max_num_seqs=requests)
            self._recent_ms.clear()
        plan = super().plan(scheduler, now_s)
        self._in_flight = list(scheduler.running)
        return plan

    def _listen(self) -> None:
        """Note those that finished in the last step."""
        for sequence in self._in_flight:
            if sequence.finish_s is not None:
                self._recent_ms.append(1000 * (sequence.finish_s - sequence.arrival_s))
        self._in_flight = []

    def _batch_size(self, scheduler: Scheduler) -> int:
        requests = scheduler.settings.max_num_seqs
        latency_ms = fmean(self._recent_ms)
        if latency_ms > TOO_SLOW * self.target_ms:
            return max(1, requests - STEP_REQUESTS)
        if latency_ms < FAST * self.target_ms and len(scheduler.waiting) > MANY_QUEUED:
            return max(requests, min(requests + STEP_REQUESTS, self.max_requests))
        return requests
