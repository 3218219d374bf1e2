"""How much of the hardware a run used: compute, memory bandwidth, and what communication took.

MFU is model FLOPs over peak FLOPs (PaLM, arXiv 2204.02311, appendix B). MBU is the bytes that must
be read over peak bandwidth (Databricks, "LLM Inference Performance Engineering: Best Practices",
2023): weights and KV cache, once per step. What is computed again after a preemption counts again.
"""

from typing import Protocol

from runners.simulated.kernels import peak_tflops
from search_spaces.deployment import Deployment, Model


class Work(Protocol):
    """What replicas did in a run, summed over them; ``Totals`` has it."""

    @property
    def busy_s(self) -> float: ...
    @property
    def steps(self) -> int: ...
    @property
    def prompt_tokens(self) -> int: ...
    @property
    def decode_tokens(self) -> int: ...
    @property
    def prefill_kv_tokens(self) -> int: ...
    @property
    def decode_kv_tokens(self) -> int: ...


class Communicating(Protocol):
    """A step-time model that knows what of a step is communication."""

    def step_ms(
        self,
        prefill_requests: int,
        prefill_tokens: int,
        prefill_kv_tokens: int,
        decode_requests: int,
        decode_kv_tokens: int,
    ) -> float: ...

    def communication_ms(self, tokens: int) -> float: ...


def mfu(
    deployment: Deployment,
    work: Work,
    *,
    tensor_parallel_size: int,
    prefill_pairs: float = 0.0,
) -> float:
    """Model FLOPs utilisation while busy, 0 where nothing ran.

    Args:
        prefill_pairs: pairs of tokens that attention over prompts looked at, per layer and head;
            0 leaves them out, as PaLM's MFU "without self-attention" does.
    """
    peak = peak_tflops(deployment.gpu, deployment.model.weight_dtype) * 1e12
    available = work.busy_s * tensor_parallel_size * peak
    return model_flops(deployment, work, prefill_pairs) / available if available else 0.0


def model_flops(deployment: Deployment, work: Work, prefill_pairs: float = 0.0) -> float:
    """Two per weight and token, four per head_dim and pair of tokens in every head.

    The LM head is counted for decoded tokens; the one row of each prompt is left out.
    """
    model = deployment.model
    tokens = work.prompt_tokens + work.decode_tokens
    pairs = prefill_pairs * model.num_hidden_layers
    pairs += _over_layers(model, work.decode_kv_tokens + work.decode_tokens, work.decode_tokens)
    return (
        2 * model.active_parameters * tokens
        + 2 * model.hidden_size * model.vocab_size * work.decode_tokens
        + 4 * model.num_attention_heads * model.head_dim * pairs
    )


def mbu(
    deployment: Deployment, work: Work, *, tensor_parallel_size: int, kv_dtype: str = "bf16"
) -> float:
    """Memory bandwidth utilisation while busy, 0 where nothing ran."""
    available = work.busy_s * deployment.gpu.memory_bandwidth_tb_s * 1e12
    read = bytes_read(deployment, work, tensor_parallel_size, kv_dtype)
    return read / available if available else 0.0


def bytes_read(
    deployment: Deployment, work: Work, tensor_parallel_size: int, kv_dtype: str = "bf16"
) -> float:
    """By each GPU: its part of the weights in every step, and of the cache what was looked at.

    Of experts those that a step of mean size reaches, which is more than in steps of different
    sizes.
    """
    if not work.steps:
        return 0.0
    model = deployment.model
    tokens = (work.prompt_tokens + work.decode_tokens) / work.steps
    weights = weight_bytes_read(model, tokens)
    kv_tokens = work.prefill_kv_tokens * model.num_hidden_layers
    kv_tokens += _over_layers(model, work.decode_kv_tokens, work.decode_tokens)
    kv_bytes = deployment.kv_bytes_per_token(tensor_parallel_size, kv_dtype)
    return (
        work.steps * weights / tensor_parallel_size
        + kv_tokens * kv_bytes / model.num_hidden_layers
    )


def weight_bytes_read(model: Model, tokens: float) -> float:
    """By a step of so many tokens; of the embeddings one matrix, the LM head."""
    return model.block_bytes(model.experts_touched(tokens)) + model.embedding_bytes


def _over_layers(model: Model, tokens: int, decode_tokens: int) -> int:
    """Tokens looked at when decoding, summed over layers; some look back on a window alone."""
    windowed = min(tokens, model.sliding_window * decode_tokens)
    full_layers = model.num_hidden_layers - model.sliding_window_layers
    return full_layers * tokens + model.sliding_window_layers * windowed


def communication_share(
    steps: Communicating,
    *,
    prefill_requests: int = 0,
    prefill_tokens: int = 0,
    prefill_kv_tokens: int = 0,
    decode_requests: int = 0,
    decode_kv_tokens: int = 0,
) -> float:
    """Of one step's time, what its GPUs spend on exchanging rather than computing."""
    step_ms = steps.step_ms(
        prefill_requests, prefill_tokens, prefill_kv_tokens, decode_requests, decode_kv_tokens
    )
    return steps.communication_ms(prefill_tokens + decode_requests) / step_ms
