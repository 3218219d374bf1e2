"""Step times of Ulysses sequence parallelism, to be held against tensor parallelism.

DeepSpeed-Ulysses (arXiv 2309.14509): every GPU has all weights and a part of each sequence;
around attention, all-to-alls exchange it for a part of the heads of whole sequences.
"""

from runners.simulated.attention import attention
from runners.simulated.compiled.steps import Steps
from runners.simulated.kernels import ACTIVATION_BYTES, all_to_all_us
from runners.simulated.layers import Layers, captured
from runners.simulated.roofline import Roofline, host_ms
from runners.simulated.step_table import Tabled, by_number
from search_spaces.deployment import Deployment

EXCHANGES = 4
"""Per layer: queries, keys and values before attention, what it gives after."""


class Ulysses(Tabled):
    """Shortens long prefills; a decode reads all weights on every GPU as if it were alone."""

    def __init__(self, deployment: Deployment, *, degree: int, kv_dtype: str = "bf16") -> None:
        model = deployment.model
        if degree < 1 or model.num_key_value_heads % degree:
            raise ValueError(
                "`degree` must divide num_key_value_heads, but got "
                f"{degree} and {model.num_key_value_heads}."
            )
        self._deployment, self._degree = deployment, degree
        layers = Layers(model, deployment.gpu, 1)
        tokens_ms = by_number(
            lambda tokens: (
                layers.us(captured(self._share(tokens))) / 1000 + self.communication_ms(tokens)
            )
        )
        super().__init__(
            Steps(
                tokens_ms=tokens_ms,
                decode_tokens_ms=tokens_ms,
                communication_ms=by_number(self.communication_ms),
                rows_ms=by_number(lambda rows: layers.head_us(self._share(rows)) / 1000),
                **attention(deployment, degree, kv_dtype),
                **host_ms(model),
            ),
            source=f"analytic roofline over data-sheet figures, Ulysses on {degree} GPUs",
            uncertainty=Roofline.uncertainty + "; sequence parallelism itself unchecked",
        )

    def communication_ms(self, tokens: int) -> float:
        """What all-to-alls take of a step."""
        model, gpu, degree = self._deployment.model, self._deployment.gpu, self._degree
        heads = 2 * model.num_attention_heads + 2 * model.num_key_value_heads
        held = self._share(tokens) * heads * model.head_dim * ACTIVATION_BYTES
        sent = held * (degree - 1) / degree / EXCHANGES
        exchanges = EXCHANGES * model.num_hidden_layers
        return exchanges * all_to_all_us(sent, gpu, degree) / 1000

    def _share(self, tokens: int) -> int:
        return -(-tokens // self._degree)
