"""Measured kernels as tables: what the tokens of a step take, and attention on grids."""

import numpy as np

from runners.simulated.compiled.state import Floats
from runners.simulated.measured_kernels import MeasuredKernels
from runners.simulated.step_table import NO_STEPS, Tabled, by_number, never_falling

DECODE_REQUESTS: Floats = np.exp2(np.arange(12.0))
MEAN_KV: Floats = np.concatenate(([1.0], np.exp2(np.arange(5.0, 18.0, 0.5))))
PREFILL_REQUESTS: Floats = np.exp2(np.arange(9.0))
MEAN_CHUNK: Floats = np.concatenate(([1.0], np.exp2(np.arange(4.0, 15.0))))
MEAN_PREFIX: Floats = np.concatenate(([0.0], np.exp2(np.arange(7.0, 18.0))))


def tabled(kernels: MeasuredKernels) -> Tabled:
    """Never shorter for more work, where the kernels themselves are by a few per cent.

    ``benchmarks.twin_accuracy`` says how far the tables are from the kernels asked one by one.
    """
    tokens_ms = by_number(kernels.non_attention_ms)
    steps = NO_STEPS._replace(
        tokens_ms=tokens_ms,
        decode_tokens_ms=tokens_ms,
        communication_ms=by_number(kernels.communication_ms),
        decode_requests=DECODE_REQUESTS,
        decode_mean_kv=MEAN_KV,
        decode_grid_ms=_rising(_decode_attention_ms(kernels)),
        prefill_requests=PREFILL_REQUESTS,
        prefill_mean_chunk=MEAN_CHUNK,
        prefill_mean_kv=MEAN_PREFIX,
        prefill_grid_ms=_rising(_prefill_attention_ms(kernels)),
    )
    return Tabled(steps, source=kernels.source, uncertainty=kernels.uncertainty)


def _decode_attention_ms(kernels: MeasuredKernels) -> Floats:
    def ms(requests: float, mean_kv: float) -> float:
        whole_ms = kernels.step_ms(0, 0, 0, int(requests), int(requests * mean_kv))
        return whole_ms - kernels.non_attention_ms(int(requests))

    return np.array([[ms(requests, kv) for kv in MEAN_KV] for requests in DECODE_REQUESTS])


def _prefill_attention_ms(kernels: MeasuredKernels) -> Floats:
    def ms(requests: float, chunk: float, prefix: float) -> float:
        tokens = int(requests * chunk)
        whole_ms = kernels.step_ms(int(requests), tokens, int(requests * prefix), 0, 0)
        return whole_ms - kernels.non_attention_ms(tokens)

    return np.array(
        [
            [[ms(requests, chunk, prefix) for prefix in MEAN_PREFIX] for chunk in MEAN_CHUNK]
            for requests in PREFILL_REQUESTS
        ]
    )


def _rising(grid_ms: Floats) -> Floats:
    """Along every axis, and from 0."""
    grid_ms = np.maximum(grid_ms, 0.0)
    for axis, length in enumerate(grid_ms.shape):
        grid_ms = np.apply_along_axis(never_falling, axis, grid_ms, np.ones(length))
    return grid_ms
