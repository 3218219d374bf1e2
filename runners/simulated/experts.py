"""The routed MLP of a mixture of experts, how long it takes."""

from runners.simulated.efficiency import EXPERTS, ROUTING_US
from runners.simulated.kernels import Gemm, elementwise_us
from search_spaces.deployment import Gpu, Model


class Experts:
    """One layer's, each expert split over the GPUs of a tensor-parallel group.

    That is vLLM's default; what leaves the experts is summed by the layer's own all-reduce.
    Routing is taken for even: a skewed one reaches fewer experts in small batches, and here, where
    every GPU has a part of each, loads none more than another.
    """

    def __init__(self, model: Model, gpu: Gpu, tensor_parallel_size: int) -> None:
        self._model, self._gpu = model, gpu
        self._width = model.moe_intermediate_size / tensor_parallel_size
        self._router = Gemm(gpu, "bf16")
        self._gemm = Gemm(gpu, model.weight_dtype, EXPERTS)

    def us(self, tokens: int) -> float:
        if not tokens:
            return 0.0
        model, gpu = self._model, self._gpu
        hidden, width, up = model.hidden_size, self._width, 2 if model.gated_mlp else 1
        rows = tokens * model.num_experts_per_tok
        touched = model.experts_touched(tokens)
        return (
            ROUTING_US
            + self._router.us(tokens, hidden, model.num_experts)
            + self._gemm.us(rows, hidden, up * width, touched)
            + self._gemm.us(rows, width, hidden, touched)
            # The activation, and the sum over a token's experts.
            + elementwise_us((up + 1) * rows * width, gpu)
            + elementwise_us((rows + tokens) * hidden, gpu)
        )
