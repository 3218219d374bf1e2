from collections.abc import Mapping
from typing import Any

import pytest

from results.text import render

DEFAULT: dict[str, Any] = {
    "max_num_seqs": 1024,
    "max_num_batched_tokens": 8192,
    "tensor_parallel_size": 1,
    "batch_wait_timeout_ms": 0,
    "enable_prefix_caching": True,
    "data_parallel_size": 4,
}
PAIRS = {**DEFAULT, "tensor_parallel_size": 2, "data_parallel_size": 2}
WAITING = {**PAIRS, "batch_wait_timeout_ms": 20}
OFFERED = {
    "request_rate": 7.5,
    "p95_ttft_ms": 284.31,
    "p95_tpot_ms": 31.2,
    "mean_running": 12.34,
}
CAPACITY = {
    "capacity": 11.04,
    "capacity_per_gpu": 2.76,
    "output_throughput_per_gpu": 2846.7,
    "gpus_needed": 3,
    "headroom": 0.3207,
    "cost_per_million_output_tokens_usd": None,
}
QUADRANTS = ("live-at-scale", "interactive", "economy", "bulk")


def loads(**changes: Any) -> dict[str, Any]:
    """Both loads, changed where a metric is named."""
    return {
        "offered": {k: changes.get(k, v) for k, v in OFFERED.items()},
        "capacity": {k: changes.get(k, v) for k, v in CAPACITY.items()},
    }


def kept(metric: str, value: float | None, limit: float, **changes: Any) -> dict[str, Any]:
    judgement = {"limit": limit, "value": value, "share": 0.985, "verdict": "met"}
    return {f"{metric}<={limit:g}": {**judgement, **changes}}


def best(metric: str, value: float, ratio: float | None, **changes: Any) -> dict[str, Any]:
    return {
        "config": PAIRS,
        "loads": loads(p95_ttft_ms=212.4, capacity=14.8, capacity_per_gpu=3.7, headroom=0.493),
        "sla": {**kept("p95_tpot_ms", 28.1, 40), **kept("p95_ttft_ms", 212.4, 500)},
        "goal": {"metric": metric, "value": value},
        "trial": 12,
        "gain": None if ratio is None else {"ratio": ratio, "low": None, "high": None},
        "baseline_keeps_sla": True,
        "confirmed": False,
        "ours": None,
        **changes,
    }


def summary(**changes: Any) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "study": "chat-monday",
        "objective": "chat",
        "engine": "simulated",
        "engine_version": "vLLM 0.32 scheduler",
        "simulated": True,
        "uncertainty": "uncalibrated: within 30 %",
        "hardware": {"gpu": "h100_sxm", "gpus": 4},
        "model": "qwen3-8b",
        "workloads": {
            "chat": {"source": "azure2023_conv.csv", "requests": 600, "request_rate": 7.5}
        },
        "seed": 0,
        "trials": {"done": 40, "feasible": 31, "infeasible": 7, "failed": 2, "stopped_early": 0},
        "cost": {"wall_s": 72.4, "engine_s": 3790.0, "launches": 40, "gpu_hours": 4.211},
        "baseline": {"config": DEFAULT, "loads": loads(), "sla": {}},
        "best": {
            "live-at-scale": best("capacity_per_gpu", 3.7, 1.3406),
            "interactive": best("p95_ttft_ms", 212.4, 1.3386),
            "economy": best("gpus_needed", 3, 1.0, config=DEFAULT, trial=0),
            "bulk": None,
        },
        "regret": {
            "live-at-scale": dict(zip(QUADRANTS, (0.0, 0.0, 0.254, None), strict=True)),
            "interactive": dict(zip(QUADRANTS, (0.0, 0.0, 0.253, None), strict=True)),
            "economy": dict(zip(QUADRANTS, (0.0, 0.0, 0.0, None), strict=True)),
            "bulk": dict.fromkeys(QUADRANTS),
        },
        "front": [],
        "unused_knobs": ["max_num_seqs"],
        "infeasible": None,
        **changes,
    }


def test_x() -> None:
    print(render(summary(), folder="studies/chat-monday"))
    print("=======")
    print(render(summary(best={**summary()["best"], "bulk": best("output_throughput_per_gpu", 2846.7, 1.12, confirmed=True, ours={"config": WAITING, "trial": 31, "extra_gain": 0.057})}), folder="a b/", width=64))
