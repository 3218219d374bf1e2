"""Step times fitted to a real engine's own step log: for machines that nobody has a model of.

Linear in what is computed, so good for the sizes that the log has seen and no others: a GPU's
step is flat up to some hundred tokens and rises beyond.
"""

from collections.abc import Sequence

import numpy as np

from runners.simulated.calibration.least_squares import Linear, fit_linear
from runners.simulated.calibration.step_rows import Rows, rows_of
from runners.simulated.compiled.state import Floats
from runners.simulated.step_table import NO_STEPS, Tabled
from runners.step_log import Step

TERMS = (
    "step_ms",
    "token_ms",
    "row_ms",
    "prefill_ms",
    "prefill_token_ms",
    "prefill_pair_ms",
    "decode_kv_ms",
)
"""What each step takes, token of it, request in it; more where there are prompts, for each token
of theirs and each pair it attends to; and for each token of KV cache read."""


class FittedSteps(Tabled):
    """``TERMS`` times their coefficients, none of them below 0."""

    def __init__(self, linear: Linear, *, rows: int, largest_tokens: int) -> None:
        self.linear = linear
        self.rows = rows
        self.largest_tokens = largest_tokens
        """Tokens of the largest step seen; what is said of larger ones is extrapolated."""
        ms = self.coefficients
        # Its last line goes on.
        tokens_ms = np.array([ms["step_ms"], ms["step_ms"] + ms["token_ms"]])
        super().__init__(
            NO_STEPS._replace(
                tokens_ms=tokens_ms,
                decode_tokens_ms=tokens_ms,
                rows_ms=np.array([0.0, ms["row_ms"]]),
                prefill_ms=ms["prefill_ms"],
                prefill_pair_ms=ms["prefill_pair_ms"],
                prefill_token_ms=ms["prefill_token_ms"],
                decode_kv_ms=ms["decode_kv_ms"],
            ),
            source=f"fitted to {rows} steps of the engine's own log",
            uncertainty=(
                f"a step is within {100 * linear.scatter:.0f} % (one standard deviation) of the "
                f"fit; seen up to {largest_tokens} tokens a step"
            ),
        )

    @property
    def coefficients(self) -> dict[str, float]:
        """By the names in ``TERMS``."""
        return dict(zip(TERMS, self.linear.coefficients.tolist(), strict=True))

    @property
    def standard_errors(self) -> dict[str, float]:
        """Of the coefficients; 0 where one is held at 0."""
        return dict(zip(TERMS, np.sqrt(np.diag(self.linear.covariance)).tolist(), strict=True))

    def standard_error_ms(
        self,
        prefill_requests: int,
        prefill_tokens: int,
        prefill_kv_tokens: int,
        decode_requests: int,
        decode_kv_tokens: int,
    ) -> float:
        """How well the mean of such steps is known; a single step scatters more."""
        counts = (prefill_requests, prefill_tokens, prefill_kv_tokens)
        earlier = prefill_kv_tokens + prefill_tokens / 2
        pairs = prefill_tokens * (earlier / max(1, prefill_requests) + 0.5)
        one = [*counts[:2], pairs, decode_requests, decode_kv_tokens]
        row = _columns(*(np.array([float(number)]) for number in one))[0]
        return float(np.sqrt(row @ self.linear.covariance @ row))


def fit(*logs: Sequence[Step]) -> FittedSteps:
    """The steps of one or more launches as one model.

    Raises:
        ValueError: they cannot be learnt from; says why.
    """
    return fit_rows(rows_of(*logs))


def fit_rows(rows: Rows) -> FittedSteps:
    columns = _columns(
        rows.prefill_requests,
        rows.prefill_tokens,
        rows.pairs,
        rows.decode_requests,
        rows.decode_kv_tokens,
    )
    return FittedSteps(
        fit_linear(columns, rows.ms), rows=len(rows), largest_tokens=int(rows.tokens.max())
    )


def _columns(
    prefill_requests: Floats,
    prefill_tokens: Floats,
    pairs: Floats,
    decode_requests: Floats,
    decode_kv_tokens: Floats,
) -> Floats:
    """[row, term], in the order of ``TERMS``."""
    return np.stack(
        [
            np.ones(len(pairs)),
            prefill_tokens + decode_requests,
            prefill_requests + decode_requests,
            (prefill_tokens > 0).astype(np.float64),
            prefill_tokens,
            pairs,
            decode_kv_tokens,
        ],
        axis=1,
    )
