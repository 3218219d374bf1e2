"""One CSV row per step of the engine: what was computed, for how many, and how long it took.

``model_s`` runs from the end of a step's scheduling to the start of the handling of its output.
Under async scheduling the next step is scheduled meanwhile, and the step may wait for the one
before it: ``model_s`` then overlaps with other rows, and the time between two rows'
``start_s + schedule_s + model_s`` is what a step took.
"""

import csv
import io
import json
import os
import sys
import time
from collections import deque
from typing import Any

COLUMNS = (
    "start_s",
    "n_prefills",
    "prefill_tokens",
    "prefill_attention",
    "n_decodes",
    "decode_kv_tokens",
    "running",
    "waiting",
    "kv_usage",
    "preemptions",
    "schedule_s",
    "model_s",
    "post_s",
)
FLUSH_AFTER_S = 1.0


class StepLog:
    """Rows of a file; a file that cannot be written ends the log, never the serving."""

    def __init__(self, path: str, *, requests: bool) -> None:
        self.requests = requests
        self._rows: list[tuple[Any, ...]] = [(*COLUMNS, "requests") if requests else COLUMNS]
        self._flushed_s = time.monotonic()
        self._path = path
        self._file: int | None = None
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
            self._file = os.open(path, flags, 0o644)
        except OSError as error:
            self._stop(error)

    def add(self, row: tuple[Any, ...], *, idle: bool) -> None:
        """Keep a row; written at the latest a second later or when the engine falls idle."""
        if self._file is None:
            return
        self._rows.append(row)
        if idle or time.monotonic() - self._flushed_s >= FLUSH_AFTER_S:
            self.flush()

    def flush(self) -> None:
        if self._file is None or not self._rows:
            return
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(self._rows)
        self._rows.clear()
        self._flushed_s = time.monotonic()
        left = text.getvalue().encode()
        try:
            while left:
                left = left[os.write(self._file, left) :]
        except OSError as error:
            self._stop(error)

    def _stop(self, error: OSError) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
        self._rows.clear()
        print(f"The step log {self._path} ends here: {error.strerror}.", file=sys.stderr)


class Steps:
    """The steps of a vLLM scheduler that are under way, from their scheduling to their row."""

    def __init__(self, log: StepLog) -> None:
        self._log = log
        self._under_way: deque[tuple[float, tuple[Any, ...], str]] = deque()
        self._preemptions = 0
        self._output_s = 0.0

    def scheduled(self, scheduler: Any, output: Any, decoding: set[str], start_s: float) -> None:
        """A step was planned; ``decoding`` are those that had computed their prompt before it."""
        # A request that preempts itself may leave a step without tokens, hence without a row.
        self._preemptions += len(output.preempted_req_ids or ())
        tokens = output.num_scheduled_tokens
        if not tokens:
            return
        prefills = {name: count for name, count in tokens.items() if name not in decoding}
        ends = {name: scheduler.requests[name].num_computed_tokens for name in tokens}
        attention = sum(count * (ends[name] - count / 2) for name, count in prefills.items())
        decodes = [name for name in tokens if name in decoding]
        running, waiting = scheduler.get_request_counts()
        requests = ""
        if self._log.requests:
            preempted = sorted(output.preempted_req_ids or ())
            named = {"prefills": prefills, "decodes": decodes, "preempted": preempted}
            requests = json.dumps(named, separators=(",", ":"))
        end_s = time.monotonic()
        figures = (
            f"{start_s:.6f}",
            len(prefills),
            sum(prefills.values()),
            int(attention),
            len(decodes),
            sum(ends[name] for name in decodes),
            running,
            waiting,
            f"{scheduler.kv_cache_manager.usage:.4f}",
            self._preemptions,
            f"{end_s - start_s:.6f}",
        )
        self._preemptions = 0
        self._under_way.append((end_s, figures, requests))

    def returned(self) -> None:
        """The model's output of the oldest step under way is here."""
        self._output_s = time.monotonic()

    def done(self, *, idle: bool) -> None:
        """That output has been dealt with."""
        scheduled_s, figures, requests = self._under_way.popleft()
        model_s, post_s = self._output_s - scheduled_s, time.monotonic() - self._output_s
        row = (*figures, f"{model_s:.6f}", f"{post_s:.6f}")
        self._log.add((*row, requests) if self._log.requests else row, idle=idle)


def steps_from_environment(suffix: str) -> Steps | None:
    """The log that ``PARETUNE_STEP_LOG`` asks for.

    Args:
        suffix: added to its path; tells data-parallel engines apart.
    """
    path = os.environ.get("PARETUNE_STEP_LOG")
    if not path:
        return None
    requests = os.environ.get("PARETUNE_STEP_LOG_REQUESTS") == "1"
    return Steps(StepLog(path + suffix, requests=requests))
