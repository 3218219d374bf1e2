"""Worker processes: started, listened to, and gone when the context is left, whatever happened."""

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import IO, Any, Self

from runners.base import EngineError, FailureKind
from runners.load.job import Job
from runners.load.sse import one_line

COMMAND = (sys.executable, "-P", "-m", "runners.load.worker")
READ_BYTES = 1 << 16
GRACE_S = 1.0
"""A worker told to end has this long to say what it still knows."""
HEAD_START_S = 0.05
"""From the word to the start, so that every worker has read it in time."""


class Worker:
    """One process in a session of its own: an interrupt meant for the parent does not reach it."""

    def __init__(self, job: Job) -> None:
        self._complaints: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `kill`)
        self.process = subprocess.Popen(  # noqa: S603 (fixed arguments, no shell)
            COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            start_new_session=True,
            bufsize=0,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._orders, self.answers = self.process.stdin, self.process.stdout
        self.job = job
        self.over = False
        self._rest = b""

    def tell(self, line: bytes) -> None:
        left = memoryview(line)
        try:
            while left:
                left = left[self._orders.write(left) :]
        except BrokenPipeError:
            # It has died; that is noticed where its answers end.
            pass

    def heard(self) -> list[dict[str, Any]] | None:
        """What it has said since; ``None`` once it says no more. Call when there is something."""
        read = os.read(self.answers.fileno(), READ_BYTES)
        if not read:
            return None
        *lines, self._rest = (self._rest + read).split(b"\n")
        return [json.loads(line) for line in lines]

    def ask_to_end(self) -> None:
        self._orders.close()

    def complaint(self) -> str:
        self._complaints.seek(0)
        lines = self._complaints.read().decode("utf-8", "replace").strip().splitlines()
        return one_line(lines[-1]) if lines else "it said nothing"

    def kill(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        for pipe in (self._orders, self.answers, self._complaints):
            pipe.close()


class Shards:
    """All workers of a load."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._jobs = jobs
        self._workers: list[Worker] = []
        self._selector = selectors.DefaultSelector()

    def __enter__(self) -> Self:
        try:
            for job in self._jobs:
                worker = Worker(job)
                self._workers.append(worker)
                self._selector.register(worker.answers, selectors.EVENT_READ, worker)
            # All of them import while the first is told its share.
            for worker in self._workers:
                worker.tell(worker.job.line())
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def __len__(self) -> int:
        return len(self._workers)

    def start(self) -> float:
        """One start for all of them, on the monotonic clock."""
        start_s = time.monotonic() + HEAD_START_S
        for worker in self._workers:
            worker.tell(f"{start_s!r}\n".encode())
        return start_s

    def messages(self, wait_s: float) -> list[dict[str, Any]]:
        """What the workers say within this time; comes back as soon as one has spoken.

        Raises:
            EngineError: a worker died, or says that it cannot begin.
        """
        said = []
        for key, _ in self._selector.select(wait_s):
            worker: Worker = key.data
            heard = worker.heard()
            if heard is None:
                self._selector.unregister(worker.answers)
                if not worker.over:
                    raise EngineError(FailureKind.HOST, _died(worker))
                continue
            worker.over |= any("over" in message for message in heard)
            said += heard
        for message in said:
            if "failed" in message:
                raise EngineError(FailureKind.HOST, message["failed"])
        return said

    def last_words(self) -> Iterator[dict[str, Any]]:
        """End the run now; yields what finished before the workers noticed."""
        for worker in self._workers:
            worker.over = True
            worker.ask_to_end()
        until_s = time.monotonic() + GRACE_S
        while self._selector.get_map() and (left_s := until_s - time.monotonic()) > 0:
            yield from self.messages(left_s)

    def _end(self) -> None:
        for worker in self._workers:
            worker.kill()
        self._selector.close()


def _died(worker: Worker) -> str:
    status = worker.process.wait()
    return (
        f"A load worker must live until its run is over, but it ended with status {status}: "
        f"{worker.complaint()}"
    )
