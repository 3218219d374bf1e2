"""What a vLLM server says of itself at ``/metrics`` at one moment; names are vLLM 0.32's."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from runners.base import EngineError, FailureKind
from runners.plain_http import ask

COUNTERS = {
    "preemptions": "vllm:num_preemptions_total",
    "prefix_cached_tokens": "vllm:prefix_cache_hits_total",
    "prefix_queried_tokens": "vllm:prefix_cache_queries_total",
    "engine_prompt_tokens": "vllm:prompt_tokens_total",
    "engine_generation_tokens": "vllm:generation_tokens_total",
    "draft_tokens": "vllm:spec_decode_num_draft_tokens_total",
    "accepted_draft_tokens": "vllm:spec_decode_num_accepted_tokens_total",
}
QUEUE = "vllm:request_queue_time_seconds"
INFERENCE = "vllm:request_inference_time_seconds"
PER_REQUEST = {
    "mean_queue_s": QUEUE,
    "mean_prefill_s": "vllm:request_prefill_time_seconds",
    "mean_decode_s": "vllm:request_decode_time_seconds",
}
RUNNING = "vllm:num_requests_running"
WAITING = "vllm:num_requests_waiting"
USAGE = "vllm:kv_cache_usage_perc"
CACHE = "vllm:cache_config_info"
TIMES = (INFERENCE, *PER_REQUEST.values())
CUMULATIVE = (
    frozenset(COUNTERS.values()) | {f"{t}_sum" for t in TIMES} | {f"{t}_count" for t in TIMES}
)
KNOWN = CUMULATIVE | {RUNNING, WAITING, USAGE, CACHE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A server's metrics at one moment, summed over its engines."""

    values: Mapping[str, float]
    """By vLLM's name; the KV cache's usage is that of the fullest engine."""
    block_tokens: int | None = None
    kv_capacity_tokens: int | None = None

    @property
    def in_flight(self) -> float:
        """Requests in the engines' queues and batches."""
        return self.values.get(RUNNING, 0.0) + self.values.get(WAITING, 0.0)


def scrape(url: str, timeout_s: float) -> Snapshot | None:
    """What the server says now; ``None`` when it reports none of vLLM's metrics.

    Raises:
        EngineError: it does not answer.
    """
    try:
        answer = ask(f"{url.rstrip('/')}/metrics", timeout_s)
    except ConnectionError as error:
        raise EngineError(FailureKind.DIED, str(error)) from None
    return read(answer.text) if answer.status == 200 else None


def read(text: str) -> Snapshot | None:
    """A snapshot from Prometheus' text format; ``None``: nothing of vLLM's, or no such text."""
    # Histogram buckets are nine lines in ten, and a sample is taken while the load is running.
    lines = [line for line in text.splitlines() if _name(line) in KNOWN]
    try:
        families = text_string_to_metric_families("\n".join(lines) + "\n")
        samples = [sample for family in families for sample in family.samples]
    except (ValueError, IndexError, KeyError):
        return None
    if not samples:
        return None
    values: dict[str, float] = {}
    for sample in samples:
        if sample.name != CACHE and math.isfinite(sample.value) and sample.value >= 0:
            so_far = values.get(sample.name, 0.0)
            together = max if sample.name == USAGE else float.__add__
            values[sample.name] = together(so_far, float(sample.value))
    caches = [sample for sample in samples if sample.name == CACHE]
    return Snapshot(
        values=values,
        block_tokens=max((_count(c, "block_size") or 0 for c in caches), default=0) or None,
        kv_capacity_tokens=sum(map(_capacity_tokens, caches)) or None,
    )


def _name(line: str) -> str:
    return line.partition("{")[0].partition(" ")[0]


def _count(sample: Sample, label: str) -> int | None:
    text = str(sample.labels.get(label, ""))
    return int(text) if text.isdecimal() and text.isascii() and len(text) < 16 else None


def _capacity_tokens(cache: Sample) -> int:
    told = _count(cache, "kv_cache_size_tokens")
    blocks, block = _count(cache, "num_gpu_blocks"), _count(cache, "block_size")
    return told or (blocks or 0) * (block or 0)
