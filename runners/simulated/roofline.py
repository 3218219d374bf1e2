"""Step times from a model's shape and a GPU's data sheet, for every deployment.

A step is the sum of its kernels, each bound by compute or by bytes: Williams et al., "Roofline"
(CACM 2009), for transformers Pope et al. (arXiv 2211.05102).
"""

from typing import Any

from runners.simulated.attention import attention
from runners.simulated.compiled.steps import Steps
from runners.simulated.kernels import ACTIVATION_BYTES, all_reduce_us
from runners.simulated.layers import LARGEST_GRAPH, Layers, captured
from runners.simulated.step_table import Tabled, by_number
from search_spaces.deployment import KV_BYTES, WEIGHT_BYTES, Deployment, Model

HOST_STEP_US, HOST_REQUEST_US, HOST_LAYER_US = 126, 4, 32
"""What the CPU needs per step, request and eagerly launched layer, as fitted for vLLM by the
BLIS simulator (inference-sim). It runs ahead of the GPU, so it counts only where it is longer."""


class Roofline(Tabled):
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
        layers = Layers(model, gpu, tp)
        self._model, self._gpu, self._tp = model, gpu, tp
        tokens_ms = by_number(
            lambda tokens: layers.us(captured(tokens)) / 1000 + self.communication_ms(tokens)
        )
        super().__init__(
            Steps(
                tokens_ms=tokens_ms,
                decode_tokens_ms=tokens_ms,
                communication_ms=by_number(self.communication_ms),
                rows_ms=by_number(lambda rows: layers.head_us(rows) / 1000),
                **attention(deployment, tp, kv_dtype),
                **host_ms(model),
            ),
            source=self.source,
            uncertainty=self.uncertainty + of_kind(model),
        )

    def communication_ms(self, tokens: int) -> float:
        """What all-reduces take of a step: two per layer (Megatron-LM, arXiv 1909.08053) and one
        after the embedding."""
        all_reduces = 2 * self._model.num_hidden_layers + 1
        message_bytes = captured(tokens) * self._model.hidden_size * ACTIVATION_BYTES
        return all_reduces * all_reduce_us(message_bytes, self._gpu, self._tp) / 1000


def host_ms(model: Model) -> dict[str, Any]:
    """The fields of ``Steps`` that the CPU decides."""
    return {
        "host_ms": HOST_STEP_US / 1000,
        "host_row_ms": HOST_REQUEST_US / 1000,
        "eager_ms": HOST_LAYER_US * model.num_hidden_layers / 1000,
        "largest_graph": LARGEST_GRAPH,
    }


MIXTURES = {
    "bf16": "within 8.9 % (median) and 17.0 % (p90) of measured-kernel times",
    "nvfp4": "within 11.5 % (median) and 19.6 % (p90) of them on B200",
    "mxfp4": "within 20.4 % (median) and 30.4 % (p90) of them, nearly always below",
}
"""What ``python -m benchmarks.roofline_vs_kernels`` prints, where the weights fit, at TP 1-8:
Qwen3-30B-A3B, Qwen3-235B-A22B and Mixtral 8x7B on A100, H100 and H200 (275 steps),
MiniMax-M2.5-NVFP4 (44), gpt-oss 20b and 120b on H100 and H200 (176); without the norms of queries
and keys that Qwen3 and MiniMax have. Mixtures in fp8 are unchecked: see `wheel_model.py`."""


def of_kind(model: Model) -> str:
    """What the uncertainty says beside, for models that are not dense or of other types."""
    if model.num_experts:
        return (
            f"; mixtures of experts {MIXTURES.get(model.weight_dtype, 'of this type unchecked')}"
        )
    said = "; 4-bit weights unchecked" if WEIGHT_BYTES[model.weight_dtype] < 1 else ""
    return said + ("; sliding windows unchecked" if model.sliding_window else "")
