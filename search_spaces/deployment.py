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
WEIGHT_BYTES = {"bf16": 2.0, "fp8": 1.0, "int8": 1.0, "int4": 0.5}
KV_BYTES = {"bf16": 2.0, "fp8": 1.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A dense decoder's shape, named after the fields of its ``config.json``."""

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

    def __post_init__(self) -> None:
        for field in ("num_hidden_layers", "hidden_size", "num_attention_heads", "vocab_size"):
            if getattr(self, field) < 1:
                raise ValueError(f"{self.name}: `{field} >= 1` must hold.")
        if self.weight_dtype not in WEIGHT_BYTES:
            raise ValueError(f"{self.name}: weights of {self.weight_dtype!r} are not known.")

    @property
    def block_parameters(self) -> int:
        """Parameters of all layers, embeddings left out."""
        heads = 2 * self.num_attention_heads + 2 * self.num_key_value_heads
        attention = self.hidden_size * self.head_dim * heads
        mlp = (3 if self.gated_mlp else 2) * self.hidden_size * self.intermediate_size
        return self.num_hidden_layers * (attention + mlp)

    @property
    def weight_bytes(self) -> float:
        """Bytes of all weights; embeddings and LM head stay in bf16."""
        copies = 1 if self.tie_word_embeddings else 2
        embeddings = copies * self.vocab_size * self.hidden_size * WEIGHT_BYTES["bf16"]
        return self.block_parameters * WEIGHT_BYTES[self.weight_dtype] + embeddings


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
        """KV bytes per token on each GPU; heads are replicated beyond their number."""
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
        """Tokens of KV cache one replica holds: what weights and activations leave.

        Negative when the weights do not fit. An estimate; a real engine logs its own.
        """
        tp = tensor_parallel_size
        model = self.model
        widest = max(3 * model.intermediate_size, 6 * model.hidden_size)
        activations = max_num_batched_tokens * widest * 2.0 / tp
        logits = min(max_num_seqs, max_num_batched_tokens) * model.vocab_size
        free = (
            gpu_memory_utilization * self.gpu.memory_gib * GIB
            - model.weight_bytes / tp
            - self.gpu.reserved_gb * 1e9
            - activations
            - logits * SAMPLER_BYTES_PER_LOGIT / tp
        )
        return math.floor(free / self.kv_bytes_per_token(tp, kv_dtype))
