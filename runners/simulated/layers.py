"""How long a step's GEMMs and element-wise kernels take: what its number of tokens decides."""

from math import ceil

from runners.simulated.experts import Experts
from runners.simulated.kernels import ACTIVATION_BYTES, Gemm, elementwise_us, gather_us
from search_spaces.deployment import Gpu, Model

LARGEST_GRAPH = 512
"""Tokens of the largest step that vLLM replays from a CUDA graph."""


class Layers:
    """Of one GPU of a tensor-parallel group; all-reduces are left out."""

    def __init__(self, model: Model, gpu: Gpu, tensor_parallel_size: int) -> None:
        self._model, self._gpu, self._tp = model, gpu, tensor_parallel_size
        self._attention = Gemm(gpu, model.attention_dtype or model.weight_dtype)
        self._mlp = Gemm(gpu, model.weight_dtype)
        self._head = Gemm(gpu, "bf16")
        self._experts = Experts(model, gpu, tensor_parallel_size) if model.num_experts else None
        dense = model.shared_expert_intermediate_size if self._experts else model.intermediate_size
        self._width = dense / tensor_parallel_size

    def us(self, tokens: int) -> float:
        """Of all layers."""
        layer_us = self._projections_us(tokens)
        # Values moved as aiconfigurator counts them, by two norms.
        layer_us += 2 * elementwise_us(4 * tokens * self._model.hidden_size, self._gpu)
        if self._width:
            layer_us += self._mlp_us(tokens)
        if self._experts:
            layer_us += self._experts.us(tokens)
        return self._model.num_hidden_layers * layer_us

    def _projections_us(self, tokens: int) -> float:
        model, hidden = self._model, self._model.hidden_size
        queries = model.num_attention_heads * model.head_dim / self._tp
        kv = ceil(model.num_key_value_heads / self._tp) * model.head_dim
        us = self._attention.us(tokens, hidden, queries + 2 * kv)
        us += self._attention.us(tokens, queries, hidden)
        if self._attention.quantises:  # the norms quantise what they write; this is left
            us += elementwise_us(1.5 * tokens * queries, self._gpu)
        return us

    def _mlp_us(self, tokens: int) -> float:
        hidden, width, up = self._model.hidden_size, self._width, 2 if self._model.gated_mlp else 1
        us = self._mlp.us(tokens, hidden, up * width) + self._mlp.us(tokens, width, hidden)
        us += elementwise_us((up + 1) * tokens * width, self._gpu)
        if self._mlp.quantises:
            us += elementwise_us(1.5 * tokens * width, self._gpu)
        return us

    def head_us(self, rows: int) -> float:
        """LM head, only for the rows that sample, and the gathering of its logits."""
        vocab = self._model.vocab_size / self._tp
        gathered = rows * vocab * ACTIVATION_BYTES
        return self._head.us(rows, self._model.hidden_size, vocab) + gather_us(
            gathered, self._gpu, self._tp
        )


def captured(tokens: int) -> int:
    """Tokens the step is padded to: vLLM captures graphs of 1, 2, 4, 8, 16, 24 ... 512."""
    if tokens > LARGEST_GRAPH:
        return tokens
    return next((size for size in (0, 1, 2, 4) if tokens <= size), 8 * ceil(tokens / 8))
