"""The part of a config that the scheduler reads, checked."""

from dataclasses import dataclass
from typing import Literal

from search_spaces import Config

BatchPolicy = Literal["continuous", "prefill_first", "decode_first", "static"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerSettings:
    """vLLM's scheduler arguments by their own names, and ours."""

    max_num_seqs: int
    max_num_batched_tokens: int
    long_prefill_token_threshold: int = 0
    enable_chunked_prefill: bool = True
    scheduling_policy: Literal["fcfs", "priority"] = "fcfs"
    batch_policy: BatchPolicy = "continuous"
    batch_wait_timeout_ms: float = 0.0
    batch_wait_min_requests: int = 0
    """0: as many as there are free slots."""

    @classmethod
    def of(cls, config: Config) -> "SchedulerSettings":
        policy = str(config["batch_policy"])
        return cls(
            max_num_seqs=int(config["max_num_seqs"]),
            max_num_batched_tokens=int(config["max_num_batched_tokens"]),
            long_prefill_token_threshold=int(config["long_prefill_token_threshold"]),
            enable_chunked_prefill=bool(config["enable_chunked_prefill"]),
            scheduling_policy="priority" if config["scheduling_policy"] == "priority" else "fcfs",
            batch_policy=_POLICIES[policy],
            batch_wait_timeout_ms=float(config["batch_wait_timeout_ms"]),
            batch_wait_min_requests=int(config["batch_wait_min_requests"]),
        )


_POLICIES: dict[str, BatchPolicy] = {
    "continuous": "continuous",
    "prefill_first": "prefill_first",
    "decode_first": "decode_first",
    "static": "static",
}
