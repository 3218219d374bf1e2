"""The load generators that peers use: how many prompts, and what starting them costs."""

from benchmarks.search_efficiency.stand import ChargedEngine
from objectives import Load, Measurement, Workload

CLIENT_S = 8.5
"""Of each `vllm bench serve`, for which the engine waits: imports, tokenizer and dataset took 8 to
9 s on vLLM 0.32."""


def bench_serve(engine: ChargedEngine, workload: Workload) -> Measurement:
    """One run of `vllm bench serve`, in full."""
    engine.idle(CLIENT_S)
    return engine.measure(Load(workload=workload))
