"""Surfaces small enough for tests."""

from collections.abc import Mapping
from pathlib import Path

from benchmarks.search_efficiency import published, twins
from benchmarks.search_efficiency.surface import Surface
from benchmarks.twin_accuracy.measured import Group, Row, Setup

GROUP = Group(
    backend="vllm", version="1", model="openai/gpt-oss-120b", gpu="h100_sxm", precision="fp4"
)
POINTS: Mapping[tuple[int, int], tuple[float, float]] = {
    (1, 4): (50.0, 10.0),
    (1, 8): (60.0, 12.0),
    (1, 16): (90.0, 18.0),
    (1, 32): (160.0, 30.0),
    (2, 4): (30.0, 7.0),
    (2, 8): (40.0, 8.0),
    (2, 16): (70.0, 13.0),
    (2, 32): (130.0, 22.0),
}
"""(mean TTFT, mean TPOT) in ms by (tensor-parallel size, concurrency)."""
TWIN = twins.Twin(
    objective="chat",
    model="meta-llama/Llama-3.2-1B-Instruct",
    gpu="l4",
    gpus=2,
    request_rate=4.0,
    goal="throughput",
    noise_of_run=0.03,
    grid=(
        ("max_num_seqs", (8, 64, 1024)),
        ("max_num_batched_tokens", (512, 2048)),
        ("long_prefill_token_threshold", (0,)),
        ("tensor_parallel_size", (1, 2)),
    ),
    requests=64,
)


def row(point: tuple[int, int], ttft_ms: float, tpot_ms: float) -> Row:
    """A run of 1000 tokens in and 100 out, at most."""
    size, concurrency = point
    setup = Setup(
        group=GROUP,
        input_tokens=1000,
        output_tokens=100,
        concurrency=concurrency,
        batch_size=concurrency,
        tensor_parallel_size=size,
        attention_dp_size=1,
        moe_ep_size=1,
    )
    return Row(setup=setup, ttft_ms=ttft_ms, tpot_ms=tpot_ms)


def tiny() -> Surface:
    """Eight published points."""
    return published.surface("tiny", {point: row(point, *ms) for point, ms in POINTS.items()})


def tiny_twin(cache: Path) -> Surface:
    """Twelve configs of the simulated engine, of which some are refused."""
    return twins.surface("tiny-twin", TWIN, cache)
