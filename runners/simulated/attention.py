"""How long attention takes in a step: over whole contexts, and over sliding windows."""

from typing import Any

import numpy as np

from runners.simulated.compiled.state import Floats
from runners.simulated.efficiency import ELEMENTWISE_BANDWIDTH, FP8_KV_BANDWIDTH, efficiency
from runners.simulated.kernels import ACTIVATION_BYTES
from runners.simulated.step_table import NO_GRIDS
from search_spaces.deployment import Deployment, Model

NODES = np.arange(17) / 8
"""Where attention over windows is tabled, in windows; it is a straight line beyond two."""


def attention(deployment: Deployment, gpus: int, kv_dtype: str) -> dict[str, Any]:
    """The fields of ``Steps`` that it decides, its heads split over some GPUs.

    FlashAttention (arXiv 2205.14135): a prompt of c tokens on p earlier ones multiplies
    c (p + (c + 1) / 2) pairs of tokens twice, head_dim numbers each, in every query head.
    """
    model, gpu = deployment.model, deployment.gpu
    reached = efficiency(gpu.name)
    layers = model.num_hidden_layers
    heads = layers * model.num_attention_heads / gpus
    kv_bytes = deployment.kv_bytes_per_token(gpus, kv_dtype)
    bytes_per_ms = gpu.memory_bandwidth_tb_s * 1e9
    decoded_per_ms = bytes_per_ms * reached.kv_bandwidth
    if kv_dtype != "bf16":
        decoded_per_ms *= FP8_KV_BANDWIDTH
    query_bytes = 2 * heads * model.head_dim * ACTIVATION_BYTES
    by_context = {
        "prefill_pair_ms": 4
        * heads
        * model.head_dim
        / (gpu.bf16_tflops * 1e9 * reached.prefill_flops),
        "prefill_kv_ms": kv_bytes / (bytes_per_ms * ELEMENTWISE_BANDWIDTH),
        # FLOPs of decode attention never bind: a KV byte serves a dozen or so heads at most.
        "decode_kv_ms": kv_bytes / decoded_per_ms,
    }
    full = 1 - model.sliding_window_layers / layers
    return {
        "prefill_ms": layers * reached.prefill_floor_us / 1000,
        "prefill_token_ms": query_bytes / (bytes_per_ms * ELEMENTWISE_BANDWIDTH),
        "decode_ms": layers * reached.decode_floor_us / 1000,
        **{name: full * ms for name, ms in by_context.items()},
        **_windowed(model, **{name: (1 - full) * ms for name, ms in by_context.items()}),
    }


def _windowed(
    model: Model, *, prefill_pair_ms: float, prefill_kv_ms: float, decode_kv_ms: float
) -> dict[str, Any]:
    """Grids of the layers that look back on a window: a request reads no more than that."""
    window = model.sliding_window
    if not window:
        return NO_GRIDS
    nodes = window * NODES
    chunk, earlier = np.meshgrid(nodes, nodes, indexing="ij")
    prefill_ms = (
        pairs_in_window(chunk, earlier, window) * prefill_pair_ms
        + (chunk + np.minimum(earlier, window)) * prefill_kv_ms
    )
    decode_ms = decode_kv_ms * np.array([0.0, window, window])
    return {
        "decode_requests": np.array([0.0, 1.0]),
        "decode_mean_kv": np.array([0.0, window, 2.0 * window]),
        "decode_grid_ms": np.stack([0 * decode_ms, decode_ms]),
        "prefill_requests": np.array([0.0, 1.0]),
        "prefill_mean_chunk": nodes,
        "prefill_mean_kv": nodes,
        "prefill_grid_ms": np.stack([0 * prefill_ms, prefill_ms]),
    }


def pairs_in_window(chunk: Floats, earlier: Floats, window: int) -> Floats:
    """Tokens that those of a chunk look at, summed, none at more than the window."""
    growing = np.clip(window - earlier, 0, chunk)
    return growing * (earlier + (growing + 1) / 2) + (chunk - growing) * window
