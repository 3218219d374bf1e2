"""When waiting requests may join the batch: the arithmetic alone, without vLLM.

The same rules as the simulated engine's ``WaitingQueue``; a test holds the two together.
"""

import math
from collections.abc import Callable, Iterable
from itertools import islice

from paretune_settings import Settings


class Gate:
    """Holds back requests that have not run yet; preempted ones are never held."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.joining: set[str] = set()
        """Members of the static batch that still have to be admitted."""

    @property
    def static(self) -> bool:
        return self.settings.batch_policy == "static"

    def turn(self, settings: Settings) -> None:
        """Go by other settings from the next step on."""
        if self.settings.batch_policy != settings.batch_policy:
            self.joining.clear()
        self.settings = settings

    def opens_at_s(
        self, *, running: int, preempted: int, waiting: int, oldest_s: Callable[[], float]
    ) -> float:
        """When the gate lets requests through: now (0), at a deadline, or never by time alone.

        It opens once those waiting could fill the free slots, or are ``batch_wait_min_requests``,
        or once the oldest held has waited ``batch_wait_timeout_ms``. Under the static policy it
        lets a batch in, as it stood when nothing ran, and stays shut until all of it has finished.

        Args:
            preempted: of those that wait, how many have run already.
            waiting: all that wait, preempted ones included.
            oldest_s: when the oldest of those that have not run yet was queued.
        """
        settings = self.settings
        if self.static and (running or preempted):
            return 0.0 if self.joining else math.inf
        if not settings.batch_wait_timeout_ms:
            return 0.0
        free = max(1, settings.max_num_seqs - running)
        wanted = settings.batch_wait_min_requests or settings.max_num_seqs
        if waiting >= min(free, wanted):
            return 0.0
        return oldest_s() + settings.batch_wait_timeout_ms / 1000

    def form_batch(self, fresh: Iterable[str]) -> None:
        """Make the first of these, in the order of the queue, the next static batch."""
        self.joining = set(islice(fresh, self.settings.max_num_seqs))

    def close_batch(self) -> None:
        """The KV cache holds no more: the batch is as it is."""
        self.joining.clear()

    def admits(self, request_id: str, *, preempted: bool, gate_open: bool) -> bool:
        """Whether a waiting request may be admitted in this step."""
        return preempted or (gate_open and (not self.static or request_id in self.joining))
