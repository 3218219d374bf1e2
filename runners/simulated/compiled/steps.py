"""The time of a step, from tables and a few constants."""

from typing import NamedTuple

from runners.simulated.compiled.jit import jit, kept
from runners.simulated.compiled.state import Floats


class Steps(NamedTuple):
    """A step-time model as numbers; see `step_table.py`."""

    tokens_ms: Floats
    """By tokens in the step, where a prompt is computed."""
    decode_tokens_ms: Floats
    """By tokens in a step that decodes only, replayed from a CUDA graph."""
    rows_ms: Floats
    """By rows that sample."""
    prefill_ms: float
    prefill_pair_ms: float
    prefill_token_ms: float
    prefill_kv_ms: float
    decode_ms: float
    decode_kv_ms: float
    host_ms: float
    host_row_ms: float
    eager_ms: float
    """What the host needs more where no CUDA graph is replayed."""
    largest_graph: int
    communication_ms: Floats
    """By tokens in the step: what of it all-reduces take; a part of ``tokens_ms``."""
    decode_requests: Floats
    """The sizes at which decode attention is given, and the mean tokens of KV cache."""
    decode_mean_kv: Floats
    decode_grid_ms: Floats
    """[requests, mean KV]; empty where the figures above say it all."""
    prefill_requests: Floats
    prefill_mean_chunk: Floats
    prefill_mean_kv: Floats
    prefill_grid_ms: Floats


@kept
def step_ms(
    steps: Steps,
    prefill_requests: int,
    prefill_tokens: int,
    prefill_kv_tokens: int,
    decode_requests: int,
    decode_kv_tokens: int,
    drafted_tokens: int,
) -> float:
    """As ``StepTime.step_ms``."""
    tokens = prefill_tokens + decode_requests + drafted_tokens
    rows = prefill_requests + decode_requests + drafted_tokens
    ms = _at(steps.tokens_ms if prefill_tokens else steps.decode_tokens_ms, tokens)
    ms += _at(steps.rows_ms, rows)
    if prefill_tokens:
        earlier = prefill_kv_tokens + prefill_tokens / 2
        pairs = prefill_tokens * (earlier / max(1, prefill_requests) + 0.5)
        ms += (
            steps.prefill_ms
            + pairs * steps.prefill_pair_ms
            + prefill_tokens * steps.prefill_token_ms
            + (prefill_kv_tokens + prefill_tokens) * steps.prefill_kv_ms
        )
    if decode_requests:
        ms += steps.decode_ms + decode_kv_tokens * steps.decode_kv_ms
    if prefill_tokens and steps.prefill_grid_ms.size:
        requests = max(1, prefill_requests)
        ms += _prefill_grid_ms(steps, requests, prefill_tokens, prefill_kv_tokens)
    if decode_requests and steps.decode_grid_ms.size:
        a, far = _between(steps.decode_requests, decode_requests)
        b, deep = _between(steps.decode_mean_kv, decode_kv_tokens / decode_requests)
        low = _blend(steps.decode_grid_ms[a, b], steps.decode_grid_ms[a, b + 1], deep)
        high = _blend(steps.decode_grid_ms[a + 1, b], steps.decode_grid_ms[a + 1, b + 1], deep)
        ms += _blend(low, high, far)
    host_ms = steps.host_ms + steps.host_row_ms * rows
    if tokens > steps.largest_graph:
        host_ms += steps.eager_ms
    return max(ms, host_ms)


@jit
def communication_ms(steps: Steps, tokens: int) -> float:
    """Of a step with so many tokens."""
    return _at(steps.communication_ms, tokens)


@jit
def _at(table: Floats, number: int) -> float:
    beyond = number - len(table) + 1
    if beyond <= 0:
        return table[number]
    return table[-1] + beyond * (table[-1] - table[-2])


@jit
def _prefill_grid_ms(steps: Steps, requests: int, tokens: int, kv_tokens: int) -> float:
    a, far = _between(steps.prefill_requests, requests)
    b, deep = _between(steps.prefill_mean_chunk, tokens / requests)
    c, old = _between(steps.prefill_mean_kv, kv_tokens / requests)
    low = _blend(
        _blend(steps.prefill_grid_ms[a, b, c], steps.prefill_grid_ms[a, b, c + 1], old),
        _blend(steps.prefill_grid_ms[a, b + 1, c], steps.prefill_grid_ms[a, b + 1, c + 1], old),
        deep,
    )
    a += 1
    high = _blend(
        _blend(steps.prefill_grid_ms[a, b, c], steps.prefill_grid_ms[a, b, c + 1], old),
        _blend(steps.prefill_grid_ms[a, b + 1, c], steps.prefill_grid_ms[a, b + 1, c + 1], old),
        deep,
    )
    return _blend(low, high, far)


@jit
def _between(nodes: Floats, x: float) -> tuple[int, float]:
    """The node below and how far it is to the next; beyond the last the line goes on."""
    low, high = 0, len(nodes) - 2
    while low < high:
        middle = (low + high + 1) // 2
        if nodes[middle] <= x:
            low = middle
        else:
            high = middle - 1
    return low, max(0.0, (x - nodes[low]) / (nodes[low + 1] - nodes[low]))


@jit
def _blend(low: float, high: float, share: float) -> float:
    return low + share * (high - low)
