"""What a config is deployed on: the model's shape, the GPU, how many, how long requests get."""

import math
from dataclasses import dataclass

GIB = 1024**3
RESERVED_GB = 3.0
"""CUDA context, NCCL buffers and CUDA graphs, per GPU. With the activations below this comes to
the 4.5-5 GB between memory and weights + KV in aiconfigurator's vLLM estimates (8B and 70B on
A100 and H100, TP 1-8)."""
CPU = "cpu"
SAMPLER_BYTES_PER_LOGIT = 4
WEIGHT_BYTES = {
    "bf16": 2.0,
    "fp8": 1.0,
    "int8": 1.0,
    "int4": 0.5,
    "nvfp4": 0.5 + 1 / 16,
    "mxfp4": 0.5 + 1 / 32,
}
"""Of 4-bit floats with their scales: a byte for 16 (nvfp4) or 32 (OCP MX) of them."""
KV_BYTES = {"bf16": 2.0, "fp8": 1.0}
KV_BLOCK_TOKENS = 16
"""vLLM hands out its KV cache in blocks of so many tokens, where nobody says otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A decoder's shape, named after the fields of its ``config.json``.

    In a mixture of experts every layer has ``num_experts`` of ``moe_intermediate_size``, and its
    ``intermediate_size`` is of no account.
    """

    name: str
    num_hidden_layers: int
    hidden_size: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    intermediate_size: int
    vocab_size: int
    max_position_embeddings: int
    gated_mlp: bool = True
    tie_word_embeddings: bool = False
    weight_dtype: str = "bf16"
    attention_dtype: str | None = None
    """Of attention's weights, where a quantisation leaves them out; ``None``: as all others."""
    num_experts: int = 0
    """0: a dense model."""
    num_experts_per_tok: int = 0
    moe_intermediate_size: int = 0
    shared_expert_intermediate_size: int = 0
    """What every token goes through beside its experts."""
    sliding_window: int = 0
    """Tokens that windowed layers look back on; 0: there are no such layers."""
    sliding_window_layers: int = 0

    def __post_init__(self) -> None:
        for field in ("num_hidden_layers", "hidden_size", "num_attention_heads", "vocab_size"):
            if getattr(self, field) < 1:
                raise ValueError(f"{self.name}: `{field} >= 1` must hold.")
        for dtype in (self.weight_dtype, self.attention_dtype):
            if dtype is not None and dtype not in WEIGHT_BYTES:
                raise ValueError(f"{self.name}: weights of {dtype!r} are not known.")
        self._check_experts()
        self._check_window()

    def _check_experts(self) -> None:
        if not self.num_experts:
            return
        if not 1 <= self.num_experts_per_tok <= self.num_experts:
            raise ValueError(
                f"{self.name}: `1 <= num_experts_per_tok <= num_experts` must hold, but got "
                f"{self.num_experts_per_tok} of {self.num_experts}."
            )
        if self.moe_intermediate_size < 1:
            raise ValueError(f"{self.name}: `moe_intermediate_size >= 1` must hold.")

    def _check_window(self) -> None:
        if not 0 <= self.sliding_window_layers <= self.num_hidden_layers:
            raise ValueError(
                f"{self.name}: `0 <= sliding_window_layers <= num_hidden_layers` must hold."
            )
        if (self.sliding_window > 0) != (self.sliding_window_layers > 0):
            raise ValueError(
                f"{self.name}: `sliding_window` and `sliding_window_layers` go together."
            )

    @property
    def attention_parameters(self) -> int:
        """Of the projections of all layers."""
        heads = 2 * self.num_attention_heads + 2 * self.num_key_value_heads
        return self.num_hidden_layers * self.hidden_size * self.head_dim * heads

    @property
    def router_parameters(self) -> int:
        """Of all layers; quantisers leave them in bf16."""
        return self.num_hidden_layers * self.hidden_size * self.num_experts

    def mlp_parameters(self, experts: float) -> float:
        """Of all layers when so many experts of each count; a dense model has one."""
        matrices = 3 if self.gated_mlp else 2
        width = (
            experts * self.moe_intermediate_size + self.shared_expert_intermediate_size
            if self.num_experts
            else self.intermediate_size
        )
        return self.num_hidden_layers * matrices * self.hidden_size * width

    @property
    def block_parameters(self) -> int:
        """Parameters of all layers, embeddings left out."""
        mlp = self.mlp_parameters(self.num_experts)
        return self.attention_parameters + self.router_parameters + int(mlp)

    @property
    def active_parameters(self) -> int:
        """Those of ``block_parameters`` that one token goes through."""
        mlp = self.mlp_parameters(self.num_experts_per_tok)
        return self.attention_parameters + self.router_parameters + int(mlp)

    @property
    def embedding_bytes(self) -> float:
        """Of one matrix of vocabulary by hidden size, in bf16."""
        return self.vocab_size * self.hidden_size * WEIGHT_BYTES["bf16"]

    def block_bytes(self, experts: float) -> float:
        """Bytes of all layers when so many experts of each count."""
        attention = WEIGHT_BYTES[self.attention_dtype or self.weight_dtype]
        return (
            self.attention_parameters * attention
            + self.router_parameters * WEIGHT_BYTES["bf16"]
            + self.mlp_parameters(experts) * WEIGHT_BYTES[self.weight_dtype]
        )

    @property
    def weight_bytes(self) -> float:
        """Bytes of all weights; embeddings and LM head stay in bf16."""
        copies = 1 if self.tie_word_embeddings else 2
        return self.block_bytes(self.num_experts) + copies * self.embedding_bytes

    def experts_touched(self, tokens: float) -> float:
        """Distinct experts of a layer that so many tokens reach, routed evenly."""
        if not self.num_experts:
            return 0.0
        missed: float = (1 - self.num_experts_per_tok / self.num_experts) ** tokens
        return self.num_experts * (1 - missed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """A GPU's data-sheet figures; compute is dense, without sparsity."""

    name: str
    memory_gib: float
    memory_bandwidth_tb_s: float
    bf16_tflops: float
    fp8_tflops: float | None
    link_gb_s: float
    """One direction to its neighbours: NVLink, or PCIe where there is none."""
    nvlink: bool
    fp4_tflops: float | None = None
    reserved_gb: float = RESERVED_GB
    """Of its memory, what the runtime itself takes."""

    @property
    def is_cpu(self) -> bool:
        """A real engine on a machine without a GPU."""
        return self.name == CPU


def cpu(memory_gib: float) -> Gpu:
    """The machine itself, where a CPU build serves; its speed is not modelled."""
    return Gpu(
        name=CPU,
        memory_gib=memory_gib,
        memory_bandwidth_tb_s=0.0,
        bf16_tflops=0.0,
        fp8_tflops=0.0,
        link_gb_s=0.0,
        nvlink=False,
        reserved_gb=0.6,  # RSS of a vLLM 0.32 worker before its KV cache
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """Where every config of a study runs; all of them use all ``gpus``."""

    model: Model
    gpu: Gpu
    gpus: int
    max_model_len: int
    """Tokens of the longest request served; the user's requirement, never searched."""

    def kv_bytes_per_token(self, tensor_parallel_size: int, kv_dtype: str = "bf16") -> float:
        """KV bytes per token on each GPU, windowed layers and all; heads are replicated beyond
        their number."""
        heads = math.ceil(self.model.num_key_value_heads / tensor_parallel_size)
        return 2 * self.model.num_hidden_layers * heads * self.model.head_dim * KV_BYTES[kv_dtype]

    def kv_capacity_tokens(
        self,
        *,
        tensor_parallel_size: int,
        gpu_memory_utilization: float,
        max_num_batched_tokens: int,
        max_num_seqs: int,
        kv_dtype: str = "bf16",
    ) -> int:
        """Tokens of KV cache one replica holds, in whole blocks: what weights and activations
        leave.

        Negative when the weights do not fit. An estimate; a real engine logs its own.
        """
        tp = tensor_parallel_size
        model = self.model
        logits = min(max_num_seqs, max_num_batched_tokens) * model.vocab_size
        free = (
            gpu_memory_utilization * self.gpu.memory_gib * GIB
            - model.weight_bytes / tp
            - self.gpu.reserved_gb * 1e9
            - max_num_batched_tokens * self._activation_bytes(tp)
            - logits * SAMPLER_BYTES_PER_LOGIT / tp
        )
        held = free / self.kv_bytes_per_token(tp, kv_dtype)
        if model.sliding_window and free > 0:
            held = max(held, self._windowed(held, max_num_seqs, max_num_batched_tokens))
        return math.floor(held / KV_BLOCK_TOKENS) * KV_BLOCK_TOKENS

    def _activation_bytes(self, tp: int) -> float:
        """Of one token in the step.

        Experts keep, for each one that a token goes to, the wider of what enters and what leaves
        their first matrix, and the input of the second (vLLM's ``fused_experts_impl``).
        """
        model = self.model
        shared = model.shared_expert_intermediate_size
        dense = shared if model.num_experts else model.intermediate_size
        widest = max(3 * dense, 6 * model.hidden_size) / tp
        if model.num_experts:
            wide = model.moe_intermediate_size / tp
            each = max(2 * wide, model.hidden_size) + wide
            widest = max(widest, model.num_experts_per_tok * each)
        return widest * WEIGHT_BYTES["bf16"]

    def _windowed(self, held: float, max_num_seqs: int, max_num_batched_tokens: int) -> float:
        """Tokens held where vLLM frees what has left a layer's window.

        From ``held``, the tokens there would be room for in all layers. Full layers get what the
        others leave when as many requests run as may, each with a window, and one step's tokens.
        """
        model = self.model
        share = model.sliding_window_layers / model.num_hidden_layers
        window = min(model.sliding_window, self.max_model_len)
        left = held - share * (max_num_seqs * window + max_num_batched_tokens)
        if left <= 0:
            return held
        if share == 1:
            blocks = math.ceil(self.max_model_len / KV_BLOCK_TOKENS)
            return max_num_seqs * blocks * KV_BLOCK_TOKENS
        return left / (1 - share)
