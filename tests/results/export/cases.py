"""Winners to export: one for each quadrant, and any that the space allows."""

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from objectives import Quadrant
from results.export.provenance import Checked, Origin
from results.export.serving import (
    Memory,
    Serving,
    engine_settings,
    our_settings,
)
from results.export.vllm import lossy_settings
from runners.simulated.catalogue import gpu, model
from search_spaces import Choice, Config, Deployment, Domain, Value
from search_spaces.vllm import vllm_space

GIB = 1024**3
MODEL = model("meta-llama/Llama-3.1-8B-Instruct")
SPACE = vllm_space(Deployment(model=MODEL, gpu=gpu("h100_sxm"), gpus=4, max_model_len=8192))
DEFAULT = SPACE.default()
COSTS = {
    "batch_wait_timeout_ms": "p95_ttft_ms 90 instead of 100 (-10%) (trial 3, otherwise the same)"
}

CONFIGS: dict[Quadrant, Config] = {
    Quadrant.LIVE_AT_SCALE: {
        **DEFAULT,
        "max_num_seqs": 256,
        "max_num_batched_tokens": 4096,
        "tensor_parallel_size": 2,
        "data_parallel_size": 2,
        "gpu_memory_utilization": 0.95,
    },
    Quadrant.INTERACTIVE: {
        "max_num_seqs": 64,
        "max_num_batched_tokens": 8448,
        "long_prefill_token_threshold": 2048,
        "batch_wait_timeout_ms": 20,
        "batch_wait_min_requests": 8,
        "batch_policy": "static",
        "tensor_parallel_size": 4,
        "gpu_memory_utilization": 0.87,
        "enable_chunked_prefill": False,
        "enable_prefix_caching": False,
        "scheduling_policy": "priority",
        "speculative_config": "ngram",
        "kv_cache_dtype": "fp8",
        "quantization": "fp8",
        "data_parallel_size": 1,
    },
    Quadrant.ECONOMY: DEFAULT,
    Quadrant.BULK: {**DEFAULT, "max_num_batched_tokens": 16384, "enable_prefix_caching": False},
}
"""The interactive one turns every knob."""


def serving(config: Config, quadrant: Quadrant = Quadrant.INTERACTIVE, **more: Any) -> Serving:
    served = Serving(
        name=f"{quadrant}-chat-monday",
        quadrant=str(quadrant),
        settings=engine_settings(config, SPACE, model=MODEL.name, max_model_len=8192),
        ours=our_settings(config, SPACE),
        gpu="h100_sxm",
        gpus=4,
        memory=Memory(total=80 * GIB, weights=15 * GIB, kv_cache=52 * GIB, runtime=3 * GIB),
        start_s=215.0,
        costs=COSTS,
    )
    return replace(served, **more)


def origin(config: Config, quadrant: Quadrant) -> Origin:
    best = {
        "trial": 12,
        "objective": "chat",
        "goal": {"metric": "p95_ttft_ms", "value": 100.0},
        "gain": {"ratio": 1.3, "low": 1.1, "high": 1.5},
        "loads": {"offered": {"p95_ttft_ms": 100.0, "p95_tpot_ms": 20.0, "completed": 600}},
        "sla": {"p95_ttft_ms<=500": {"limit": 500.0, "value": 100.0, "verdict": "met"}},
        "config": config,
    }
    summary = {
        "study": "chat-monday",
        "engine": "vllm",
        "engine_version": "0.32.0",
        "simulated": False,
        "uncertainty": "each figure is of one run",
        "workloads": {"chat": {"source": "a trace", "requests": 600, "request_rate": 20.0}},
        "best": {quadrant: best},
    }
    lossy = lossy_settings(config, SPACE)
    return Origin(summary=summary, quadrant=quadrant, lossy=lossy, date="2026-11-30")


CHECKED = Checked(("our closed schema",), ())


def within(domain: Domain) -> st.SearchStrategy[Value]:
    if isinstance(domain, Choice):
        return st.sampled_from(domain.values)
    steps = round((domain.high - domain.low) / domain.step)
    return st.integers(0, steps).map(lambda step: domain.nearest(domain.low + step * domain.step))


configs = st.fixed_dictionaries({knob.name: within(knob.domain) for knob in SPACE.knobs}).map(
    lambda config: {**config, **SPACE.derive(config)}
)
servings = st.builds(serving, configs, st.sampled_from(Quadrant))
