"""Whether an engine under load still gets on with it.

A hung engine core leaves its server answering, and requests that wait for it take ten minutes
each to fail; but its metrics stand still.
"""

import threading
import time
from types import TracebackType
from typing import Self

from runners.base import EngineError, Failure, FailureKind
from runners.metrics import RUNNING, WAITING, Snapshot, scrape

STUCK_S = 180.0
"""Longer than any step: 4,096 tokens of an 8B model take two minutes on a slow CPU."""
LOOKS = 10
"""In that time."""
ANSWER_S = 10.0
NOTHING = Snapshot(values={})
"""Of a server that keeps no metrics."""


class Pulse:
    """Around one load."""

    def __init__(self, url: str) -> None:
        self.trouble: Failure | None = None
        self._url = url
        self._stuck_s = STUCK_S
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._feel, name=f"pulse of {url}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def _feel(self) -> None:
        last, since_s = self._look(), time.monotonic()
        while not self._over.wait(self._stuck_s / LOOKS):
            now = self._look()
            if now is not None and (now != last or not _at_work(now)):
                last, since_s = now, time.monotonic()
            elif time.monotonic() - since_s > self._stuck_s:
                still = f"under load, its metrics stand still for {self._stuck_s:g} s"
                self.trouble = Failure(FailureKind.DIED, f"the engine hangs: {still}")
                return

    def _look(self) -> Snapshot | None:
        """``None``: no answer."""
        try:
            return scrape(self._url, ANSWER_S) or NOTHING
        except EngineError:
            return None


def _at_work(snapshot: Snapshot) -> bool:
    return bool(snapshot.values.get(RUNNING) or snapshot.values.get(WAITING))
