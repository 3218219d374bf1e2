"""Step times from a model's shape and a GPU's data sheet, for every deployment.

A step is the sum of its kernels, each bound by compute or by bytes: Williams et al., "Roofline"
(CACM 2009), for transformers Pope et al. (arXiv 2211.05102).
"""

from math import ceil, log2

from runners.simulated.efficiency import (
    ELEMENTWISE_BANDWIDTH,
    FP8_FLOPS,
    FP8_KV_BANDWIDTH,
    GEMM_TOKENS,
    KERNEL_US,
    PCIE_BANDWIDTH,
    PCIE_HOP_US,
    PCIE_PAIR_BANDWIDTH,
    WEIGHT_ONLY,
    Efficiency,
    efficiency,
)
from runners.simulated.step_time import StepTime
from search_spaces.deployment import KV_BYTES, WEIGHT_BYTES, Deployment, Gpu

ACTIVATION_BYTES = 2
LARGEST_GRAPH = 512
"""Tokens of the largest step that vLLM replays from a CUDA graph."""
CUSTOM_ALL_REDUCE_BYTES = 8 * 1024**2
"""From here on vLLM leaves an all-reduce to NCCL (``custom_all_reduce.py``)."""
HOST_STEP_US, HOST_REQUEST_US, HOST_LAYER_US = 126, 4, 32
"""What the CPU needs per step, request and eagerly launched layer, as fitted for vLLM by the
BLIS simulator (inference-sim). It runs ahead of the GPU, so it counts only where it is longer."""


class Roofline(StepTime):
    """Non-decreasing in tokens, in decode requests and in KV tokens.

    The same prompt tokens in more requests take less: attention is quadratic in each.
    """

    source = "analytic roofline over data-sheet figures"
    uncertainty = "TBD"

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
        self._gemm = _Gemm(gpu, self._reached, model.weight_dtype)
        self._head = _Gemm(gpu, self._reached, "bf16")
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
        model, tp = self._model, self._tp
        hidden, intermediate = model.hidden_size, model.intermediate_size / tp
        queries = model.num_attention_heads * model.head_dim / tp
        kv = ceil(model.num_key_value_heads / tp) * model.head_dim
        widened = 2 if model.gated_mlp else 1
        layer_us = (
            self._gemm.us(tokens, hidden, queries + 2 * kv)
            + self._gemm.us(tokens, queries, hidden)
            + self._gemm.us(tokens, hidden, widened * intermediate)
            + self._gemm.us(tokens, intermediate, hidden)
            # Passes over the activations as aiconfigurator counts them.
            + 2 * self._elementwise_us(4 * tokens * hidden)
            + self._elementwise_us((widened + 1) * tokens * intermediate)
        )
        if self._gemm.quantises:  # norms quantise what they write; these two inputs are left
            layer_us += self._elementwise_us(1.5 * tokens * queries)
            layer_us += self._elementwise_us(1.5 * tokens * intermediate)
        # Two per layer (Megatron-LM, arXiv 1909.08053) and one after the embedding.
        all_reduces = 2 * model.num_hidden_layers + 1
        message = tokens * hidden * ACTIVATION_BYTES
        return model.num_hidden_layers * layer_us + all_reduces * all_reduce_us(
            message, self._gpu, tp
        )

    def _elementwise_us(self, values: float) -> float:
        bandwidth = self._gpu.memory_bandwidth_tb_s * 1e6 * ELEMENTWISE_BANDWIDTH
        return KERNEL_US + values * ACTIVATION_BYTES / bandwidth

    def _head_us(self, rows: int) -> float:
        """LM head, only for the rows that sample, and the gathering of its logits."""
        vocab = self._model.vocab_size / self._tp
        us = self._head.us(rows, self._model.hidden_size, vocab)
        if self._tp > 1:
            received = (self._tp - 1) * rows * vocab * ACTIVATION_BYTES
            us += KERNEL_US + received / link_bytes_per_us(self._gpu, self._tp)
        return us


class _Gemm:
    """The time of [tokens x k] by [k x n] with weights stored in some dtype."""

    def __init__(self, gpu: Gpu, reached: Efficiency, weight_dtype: str) -> None:
        self.quantises = weight_dtype == "fp8" and gpu.fp8_tflops is not None
        weight_only = weight_dtype != "bf16" and not self.quantises
        tflops = gpu.bf16_tflops * (WEIGHT_ONLY if weight_only else 1)
        if self.quantises and gpu.fp8_tflops is not None:
            tflops = gpu.fp8_tflops * FP8_FLOPS
        self._flops_per_us = tflops * 1e6
        self._bytes_per_us = gpu.memory_bandwidth_tb_s * 1e6 * reached.gemm_bandwidth
        if weight_only:
            self._bytes_per_us *= WEIGHT_ONLY
        self._reached = reached.gemm_flops
        self._weight_bytes = WEIGHT_BYTES[weight_dtype]

    def us(self, tokens: int, k: float, n: float) -> float:
        flops = 2 * tokens * k * n
        moved = k * n * self._weight_bytes + tokens * (k + n) * ACTIVATION_BYTES
        compute_us = flops / (self._flops_per_us * self._share(tokens))
        return KERNEL_US + max(compute_us, moved / self._bytes_per_us)

    def _share(self, tokens: int) -> float:
        """Of peak compute, between the tokens it was read at by their logarithm."""
        if tokens <= GEMM_TOKENS[0]:
            return self._reached[0]
        for i, upper in enumerate(GEMM_TOKENS[1:]):
            if tokens <= upper:
                part = log2(tokens / GEMM_TOKENS[i]) / log2(upper / GEMM_TOKENS[i])
                return self._reached[i] * (1 - part) + self._reached[i + 1] * part
        return self._reached[-1]


def captured(tokens: int) -> int:
    """Tokens the step is padded to: vLLM captures graphs of 1, 2, 4, 8, 16, 24 ... 512."""
    if tokens > LARGEST_GRAPH:
        return tokens
    return next((size for size in (0, 1, 2, 4) if tokens <= size), 8 * ceil(tokens / 8))


def link_bytes_per_us(gpu: Gpu, gpus: int) -> float:
    """What an all-reduce or a gather gets of the link, one direction."""
    if gpu.nvlink:
        share = efficiency(gpu.name).nvlink_bandwidth
    else:
        share = PCIE_PAIR_BANDWIDTH if gpus == 2 else PCIE_BANDWIDTH
    return gpu.link_gb_s * 1e3 * share


def all_reduce_us(message_bytes: float, gpu: Gpu, gpus: int) -> float:
    """Alpha-beta times: Thakur, Rabenseifner, Gropp (IJHPCA 2005); nccl-tests PERFORMANCE.md."""
    if gpus == 1:
        return 0.0
    reached = efficiency(gpu.name)
    peers_us = (gpus - 1) * message_bytes / link_bytes_per_us(gpu, gpus)
    halves_us = 2 * peers_us / gpus
    if not gpu.nvlink:  # a ring; vLLM has no kernel of its own for more than two over PCIe
        return 2 * (gpus - 1) * PCIE_HOP_US + halves_us
    if message_bytes >= CUSTOM_ALL_REDUCE_BYTES:
        return reached.nccl_us + halves_us
    one_shot_us = reached.all_reduce_us + peers_us
    two_shot_us = 2 * reached.all_reduce_us + halves_us
    return min(one_shot_us, two_shot_us)
