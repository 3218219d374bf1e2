"""Step times from a model's shape and a GPU's data sheet, for every deployment.

A step is the sum of its kernels, each bound by compute or by bytes: Williams et al., "Roofline"
(CACM 2009), for transformers Pope et al. (arXiv 2211.05102).
"""

from math import ceil

from runners.simulated.efficiency import ELEMENTWISE_BANDWIDTH, FP8_KV_BANDWIDTH, efficiency
from runners.simulated.kernels import (
    ACTIVATION_BYTES,
    Gemm,
    all_reduce_us,
    elementwise_us,
    gather_us,
)
from runners.simulated.step_time import StepTime
from search_spaces.deployment import KV_BYTES, Deployment

LARGEST_GRAPH = 512
"""Tokens of the largest step that vLLM replays from a CUDA graph."""
HOST_STEP_US, HOST_REQUEST_US, HOST_LAYER_US = 126, 4, 32
"""What the CPU needs per step, request and eagerly launched layer, as fitted for vLLM by the
BLIS simulator (inference-sim). It runs ahead of the GPU, so it counts only where it is longer."""


class Roofline(StepTime):
    """Never shorter for more tokens, decode requests or KV tokens.

    The same prompt tokens split over more requests do take less, here as in measurements:
    attention is quadratic in the length of each.
    """

    source = "analytic roofline over data-sheet figures"
    # What benchmarks/roofline_vs_kernels.py prints; a test holds the two together.
    uncertainty = (
        "uncalibrated: within 4.0 % (median) and 9.6 % (p90) of measured-kernel times on A100, "
        "H100 and H200, which real engines exceed by 10-20 %; no constant is from H200 kernels; "
        "other GPUs unchecked"
    )

    def __init__(
        self, deployment: Deployment, *, tensor_parallel_size: int, kv_dtype: str = "bf16"
    ) -> None:
        if tensor_parallel_size < 1:
            raise ValueError(
                f"`tensor_parallel_size >= 1` must hold, but got {tensor_parallel_size}."
            )
        if kv_dtype not in KV_BYTES:
            raise ValueError(f"`kv_dtype` must be one of {list(KV_BYTES)}, but got {kv_dtype!r}.")
        model, gpu, tp = deployment.model, deployment.gpu, tensor_parallel_size
        self._model, self._gpu, self._tp = model, gpu, tp
        self._reached = efficiency(gpu.name)
        self._gemm = Gemm(gpu, model.weight_dtype)
        self._head = Gemm(gpu, "bf16")
        self._tokens_us: dict[int, float] = {}
        self._rows_us: dict[int, float] = {}
        self._set_attention(deployment.kv_bytes_per_token(tp, kv_dtype), kv_dtype)

    def _set_attention(self, kv_bytes_per_token: float, kv_dtype: str) -> None:
        """FlashAttention (arXiv 2205.14135): a prompt of c tokens on p earlier ones multiplies
        c (p + (c + 1) / 2) pairs of tokens twice, head_dim numbers each, in every query head."""
        model, gpu, reached = self._model, self._gpu, self._reached
        heads = model.num_hidden_layers * model.num_attention_heads / self._tp
        bandwidth = gpu.memory_bandwidth_tb_s * 1e6
        kv_bandwidth = bandwidth * reached.kv_bandwidth
        if kv_dtype != "bf16":
            kv_bandwidth *= FP8_KV_BANDWIDTH
        self._pair_us = (
            4 * heads * model.head_dim / (gpu.bf16_tflops * 1e6 * reached.prefill_flops)
        )
        self._query_us = (
            2 * heads * model.head_dim * ACTIVATION_BYTES / (bandwidth * ELEMENTWISE_BANDWIDTH)
        )
        self._prefill_kv_us = kv_bytes_per_token / (bandwidth * ELEMENTWISE_BANDWIDTH)
        self._prefill_floor_us = model.num_hidden_layers * reached.prefill_floor_us
        # FLOPs of decode attention never bind: a KV byte serves at most a dozen or so heads.
        self._decode_kv_us = kv_bytes_per_token / kv_bandwidth
        self._decode_floor_us = model.num_hidden_layers * reached.decode_floor_us

    def step_ms(
        self,
        prefill_requests: int,
        prefill_tokens: int,
        prefill_kv_tokens: int,
        decode_requests: int,
        decode_kv_tokens: int,
    ) -> float:
        tokens = prefill_tokens + decode_requests
        rows = prefill_requests + decode_requests
        us = self._tokens_us.get(tokens)
        if us is None:
            us = self._tokens_us[tokens] = self._layers_us(tokens)
        head_us = self._rows_us.get(rows)
        if head_us is None:
            head_us = self._rows_us[rows] = self._head_us(rows)
        us += head_us
        if prefill_tokens:
            earlier = prefill_kv_tokens + prefill_tokens / 2
            pairs = prefill_tokens * (earlier / max(1, prefill_requests) + 0.5)
            us += (
                self._prefill_floor_us
                + pairs * self._pair_us
                + prefill_tokens * self._query_us
                + (prefill_kv_tokens + prefill_tokens) * self._prefill_kv_us
            )
        if decode_requests:
            us += self._decode_floor_us + decode_kv_tokens * self._decode_kv_us
        host_us = HOST_STEP_US + HOST_REQUEST_US * rows
        if tokens > LARGEST_GRAPH:
            host_us += HOST_LAYER_US * self._model.num_hidden_layers
        return max(us, host_us) / 1000

    def _layers_us(self, tokens: int) -> float:
        """What the tokens alone decide: GEMMs, element-wise kernels and all-reduces."""
        tokens = captured(tokens)
        model, gpu, tp = self._model, self._gpu, self._tp
        hidden, intermediate = model.hidden_size, model.intermediate_size / tp
        queries = model.num_attention_heads * model.head_dim / tp
        kv = ceil(model.num_key_value_heads / tp) * model.head_dim
        up = 2 if model.gated_mlp else 1
        layer_us = (
            self._gemm.us(tokens, hidden, queries + 2 * kv)
            + self._gemm.us(tokens, queries, hidden)
            + self._gemm.us(tokens, hidden, up * intermediate)
            + self._gemm.us(tokens, intermediate, hidden)
            # Values moved as aiconfigurator counts them, by two norms and the activation.
            + 2 * elementwise_us(4 * tokens * hidden, gpu)
            + elementwise_us((up + 1) * tokens * intermediate, gpu)
        )
        if self._gemm.quantises:  # the norms quantise what they write; these two are left
            layer_us += elementwise_us(1.5 * tokens * queries, gpu)
            layer_us += elementwise_us(1.5 * tokens * intermediate, gpu)
        # Two per layer (Megatron-LM, arXiv 1909.08053) and one after the embedding.
        all_reduces = 2 * model.num_hidden_layers + 1
        message_bytes = tokens * hidden * ACTIVATION_BYTES
        return model.num_hidden_layers * layer_us + all_reduces * all_reduce_us(
            message_bytes, gpu, tp
        )

    def _head_us(self, rows: int) -> float:
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
