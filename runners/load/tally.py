"""What the workers said, put together: the results in order, the misses, the totals."""

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

from objectives import Load, RequestResult
from objectives.statistics import percentile
from runners.base import EngineError, FailureKind
from runners.load.job import Finished
from runners.load.late import LateClient
from runners.load.server import Run

KINDS_OF_ERRORS = 20
OTHERS = "other failures"
LATE_MS = 5.0
LATE_SHARE_OF_TTFT = 0.02
LENGTHS = 0.02
"""Achieved lengths may differ from those asked for by this share of the total."""


class Tally:
    """One run as it goes on."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._first_s = load.workload.requests[0].arrival_s
        self._watch = load.watch() if load.watch else None
        self._by_index: dict[int, tuple[Finished, RequestResult]] = {}
        self._sent_s: dict[int, float] = {}
        self._errors: Counter[str] = Counter()
        self.last_failed = False
        """Whether the request that finished last was not answered in full."""
        self.over = False
        """Whether the run may end before its time."""

    def hear(self, message: Mapping[str, Any]) -> None:
        self._sent_s.update(message.get("sent", ()))
        for fields in message.get("finished", ()):
            self._add(Finished(*fields))

    def _add(self, one: Finished) -> None:
        request = self._load.workload.requests[one.index]
        if one.error is not None:
            self._errors[self._kind_of(one.error)] += 1
        result = RequestResult(
            arrival_s=self._arrival_s(one.index, one.arrival_s),
            input_tokens=one.prompt_tokens or request.input_tokens,
            output_tokens=one.completion_tokens or request.output_tokens,
            ttft_ms=one.ttft_ms,
            e2el_ms=one.e2el_ms,
        )
        self._by_index[one.index] = one, result
        self.last_failed = not result.completed
        if self._watch is not None:
            self.over |= self._watch.over(result, self._first_s + one.end_s)

    def _arrival_s(self, index: int, closed_s: float) -> float:
        """An open loop's own figure, not one that went through the clock and back."""
        workload = self._load.workload
        return workload.requests[index].arrival_s if workload.concurrency is None else closed_s

    def _kind_of(self, error: str) -> str:
        known = error in self._errors or len(self._errors) < KINDS_OF_ERRORS
        return error if known else OTHERS

    def run(self, over_s: float) -> Run:
        """The whole run, which was over at this time from its start.

        Raises:
            EngineError: the lengths are not those asked for, or the client was late: no figure
                of such a run is about the config.
        """
        seen = [one for one, _ in self._by_index.values()]
        completed = [one for one in seen if one.error is None]
        self._check_lengths(completed)
        self._check_sends(seen, completed)
        return Run(
            results=tuple(self._result(i, over_s) for i in range(self._offered)),
            duration_s=max([one.end_s for one in seen] + [over_s] * (len(seen) < self._offered)),
            p99_send_lag_ms=_p99_ms(seen),
            errors=dict(self._errors),
            prompt_tokens=sum(one.prompt_tokens for one in completed),
            completion_tokens=sum(one.completion_tokens for one in completed),
        )

    @property
    def _offered(self) -> int:
        return len(self._load.workload.requests)

    def _result(self, index: int, over_s: float) -> RequestResult:
        if index in self._by_index:
            return self._by_index[index][1]
        request = self._load.workload.requests[index]
        return RequestResult(
            arrival_s=self._arrival_s(index, self._sent_s.get(index, over_s)),
            input_tokens=request.input_tokens,
            output_tokens=request.output_tokens,
        )

    def _check_lengths(self, completed: list[Finished]) -> None:
        requests = [self._load.workload.requests[one.index] for one in completed]
        asked = sum(request.output_tokens for request in requests)
        given = sum(one.completion_tokens for one in completed)
        if abs(given - asked) > LENGTHS * asked:
            raise EngineError(
                FailureKind.HOST,
                f"Answers must be as long as asked for, but {len(completed)} answers had {given} "
                f"tokens instead of {asked}: the server ignores `ignore_eos`; use one that obeys "
                "it, or lengths that its answers reach.",
            )
        asked = sum(request.input_tokens for request in requests)
        given = sum(one.prompt_tokens for one in completed)
        if abs(given - asked) > LENGTHS * asked:
            raise EngineError(
                FailureKind.HOST,
                f"Prompts must be as long as asked for, but the server counted {given} tokens "
                f"in {len(completed)} prompts of {asked}; does it add a template, or cut them?",
            )

    def _check_sends(self, seen: list[Finished], completed: list[Finished]) -> None:
        workload = self._load.workload
        if workload.concurrency is not None or math.isinf(workload.request_rate):
            return
        ttfts_ms = sorted(one.ttft_ms for one in completed if one.ttft_ms is not None)
        typical_ms = percentile(ttfts_ms, 0.5) if ttfts_ms else 0.0
        allowed_ms = max(LATE_MS, LATE_SHARE_OF_TTFT * typical_ms)
        lag_ms = _p99_ms(seen)
        if lag_ms > allowed_ms:
            late = sum(one.send_lag_ms > allowed_ms for one in seen)
            raise LateClient(
                f"the load client fell behind: {late} of {len(seen)} requests left more than "
                f"{allowed_ms:.1f} ms late, the 99th percentile {lag_ms:.1f} ms, so its latencies "
                "say nothing of the engine; give the client a core that nothing else uses.",
            )


def _p99_ms(seen: list[Finished]) -> float:
    """Of how late requests left; 0 when none did."""
    lags_ms = sorted(one.send_lag_ms for one in seen)
    return percentile(lags_ms, 0.99) if lags_ms else 0.0
