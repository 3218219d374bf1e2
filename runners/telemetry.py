"""What a vLLM server's metrics tell of one load, and whether its prompts were cached beforehand.

What a server does not report is left out, never invented.
"""

import threading
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from objectives import Workload
from runners.base import EngineError, Failure, FailureKind
from runners.metrics import (
    COUNTERS,
    CUMULATIVE,
    INFERENCE,
    PER_REQUEST,
    QUEUE,
    RUNNING,
    USAGE,
    WAITING,
    Snapshot,
    scrape,
)
from runners.plain_http import place

ANSWER_S = 10.0
STUCK_S = 180.0
"""Longer than any step: 4,096 tokens of an 8B model are 66 TFLOP, two minutes at 0.5 TFLOP/s."""
ENOUGH_SAMPLES = 20
"""Samples from which gauges are averaged; Little's law misses requests that were cut short."""
FOREIGN_SHARE = 0.01
"""Of the prompt tokens; more cache hits beyond the workload's own refuse the run."""


class Watch:
    """Around one load: the server's metrics before and after it, and its gauges in between."""

    def __init__(self, url: str, *, period_s: float = 1.0) -> None:
        self.trouble: Failure | None = None
        """That the engine hangs: its server may go on answering, but the metrics stand still."""
        self._url = url
        self._timeout_s = ANSWER_S
        self._stuck_s = STUCK_S
        self._period_s = period_s
        self._before: Snapshot | None = None
        self._after: Snapshot | None = None
        self._samples: list[Snapshot] = []
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def block_tokens(self) -> int | None:
        """Tokens of a KV block, once entered; ``None`` when the server does not say."""
        return None if self._before is None else self._before.block_tokens

    def __enter__(self) -> Self:
        self._before = scrape(self._url, self._timeout_s)
        if self._before is not None:
            self._thread = threading.Thread(
                target=self._sample, name=f"metrics of {place(self._url)}", daemon=True
            )
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        if self._before is not None and error is None:
            self._after = scrape(self._url, self._timeout_s)

    def telemetry(self, duration_s: float, implied_prefix_tokens: int) -> dict[str, float]:
        """The load's telemetry; empty when the server has none.

        Raises:
            EngineError: the server was started anew in between.
        """
        if self._before is None:
            return {}
        if self._after is None:
            raise EngineError(FailureKind.DIED, f"{place(self._url)} has no metrics any more")
        told = differences(self._before, self._after, self._samples, duration_s)
        return {**told, "implied_prefix_tokens": implied_prefix_tokens} if told else {}

    def _sample(self) -> None:
        last, since_s = self._before, time.monotonic()
        while not self._over.wait(self._period_s):
            sample = self._look()
            if sample is not None:
                self._samples.append(sample)
            if sample is not None and (sample != last or not sample.in_flight):
                last, since_s = sample, time.monotonic()
            elif time.monotonic() - since_s > self._stuck_s:
                still = f"under load, its metrics stand still for {self._stuck_s:g} s"
                self.trouble = Failure(FailureKind.DIED, f"the engine hangs: {still}")
                return

    def _look(self) -> Snapshot | None:
        """``None``: no answer; whether it still lives is found out after the load."""
        try:
            return scrape(self._url, self._timeout_s)
        except EngineError:
            return None


def differences(
    before: Snapshot, after: Snapshot, samples: Sequence[Snapshot], duration_s: float
) -> dict[str, float]:
    """Telemetry by plain name; times are means over the requests that finished.

    Raises:
        EngineError: a counter went backwards.
    """
    change = _changes(before, after)
    told = {name: change[metric] for name, metric in COUNTERS.items() if metric in change}
    for name, metric in PER_REQUEST.items():
        if finished := change.get(f"{metric}_count"):
            told[name] = change.get(f"{metric}_sum", 0.0) / finished
    for name, gauge, metric in (
        ("mean_running", RUNNING, INFERENCE),
        ("mean_waiting", WAITING, QUEUE),
    ):
        sampled = [s.values[gauge] for s in samples if gauge in s.values]
        if len(sampled) < ENOUGH_SAMPLES and f"{metric}_sum" in change:
            told[name] = change[f"{metric}_sum"] / duration_s  # Little's law
        elif sampled:
            told[name] = sum(sampled) / len(sampled)
    usage = [s.values[USAGE] for s in (*samples, after) if USAGE in s.values]
    if usage:
        told["max_kv_cache_usage"] = max(usage)
    if drafted := told.get("draft_tokens"):
        told["acceptance_rate"] = told.get("accepted_draft_tokens", 0.0) / drafted
    if after.kv_capacity_tokens is not None:
        told["kv_capacity_tokens"] = after.kv_capacity_tokens
    return told


def _changes(before: Snapshot, after: Snapshot) -> dict[str, float]:
    both = CUMULATIVE & before.values.keys() & after.values.keys()
    change = {name: after.values[name] - before.values[name] for name in sorted(both)}
    if backwards := [name for name, value in change.items() if value < 0]:
        raise EngineError(
            FailureKind.DIED,
            f"the engine was started anew during the run: its counter {backwards[0]} went back",
        )
    return change


def implied_prefix_tokens(workload: Workload, block_tokens: int) -> int:
    """Prompt tokens that the workload makes prefix-cache hits by itself, at most.

    Leading blocks that an earlier request had too, in whole blocks of the engine's; of every
    prompt the engine computes one token at least.
    """
    hits = 0
    seen: dict[int, _Seen] = {}
    for request in workload.requests:
        shared = _follow(seen, request.blocks) * workload.block_tokens
        possible = min(shared, request.input_tokens - 1)
        hits += possible // block_tokens * block_tokens
    return hits


_Seen = dict[int, "_Seen"]


def _follow(seen: _Seen, blocks: tuple[int, ...]) -> int:
    """How many leading blocks were seen before; from now on all of them were."""
    known = 0
    for block in blocks:
        known += block in seen
        seen = seen.setdefault(block, {})
    return known


def refuse_foreign_hits(
    telemetry: Mapping[str, float], prompt_tokens: int, *, beside_tokens: int = 0
) -> None:
    """Of a measurement whose prompts were in the cache before it began.

    Args:
        telemetry: as from ``Watch.telemetry``; without prefix metrics nothing is refused.
        prompt_tokens: of all requests offered.
        beside_tokens: what the client sent beside them, the same in every run.

    Raises:
        EngineError: more hits than the workload implies.
    """
    cached = telemetry.get("prefix_cached_tokens", 0.0)
    implied = telemetry.get("implied_prefix_tokens", cached)
    if cached - implied - beside_tokens > FOREIGN_SHARE * prompt_tokens:
        raise EngineError(
            FailureKind.HOST,
            f"{cached:.0f} of {prompt_tokens} prompt tokens came from the prefix cache, but the "
            f"workload's own prefixes give {implied:.0f} at most: the others were cached by "
            "other traffic or an earlier run. Let nothing else use the engine.",
        )
