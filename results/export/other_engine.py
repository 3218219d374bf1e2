"""What another engine than vLLM is not told, and how it can be kept."""

from collections.abc import Collection, Mapping
from typing import Any

from results.export.serving import Serving
from results.export.target import Dropped

IDLE: Mapping[str, Any] = {
    "long_prefill_token_threshold": 0,
    "scheduling_policy": "fcfs",
    "data_parallel_size": 1,
    "enable_chunked_prefill": True,
}
"""Values that ask nothing of the engine."""
OWN = "it is vLLM's own; serve with vLLM"


def left_out(
    serving: Serving, carried: Collection[str], keep: Mapping[str, str]
) -> tuple[Dropped, ...]:
    """Every setting that is neither carried nor idle."""
    everything = {**serving.settings, **serving.ours}
    return tuple(
        Dropped(name, _text(value), keep.get(name, OWN))
        for name, value in everything.items()
        if name not in carried and (name not in IDLE or value != IDLE[name])
    )


def _text(value: Any) -> Any:
    return str(value.get("method")) if isinstance(value, Mapping) else value


def several(serving: Serving, what: str) -> str:
    """How data-parallel replicas are kept where a server has none."""
    return f"start {serving.replicas} {what}, each on its own GPUs, behind a balancer"
