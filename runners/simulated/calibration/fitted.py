"""Step times fitted to a real engine's own step log: for machines that nobody has a model of.

Good for the sizes that the log has seen and no others: beyond them the last line goes on.
"""

from collections.abc import Sequence

import numpy as np

from runners.simulated.calibration.least_squares import Linear, fit_linear
from runners.simulated.calibration.step_rows import Rows, rows_of
from runners.simulated.compiled.state import Floats
from runners.simulated.step_table import NO_STEPS, Tabled
from runners.step_log import Step

KNOTS_TOKENS = (0, 16, 64, 256)
"""Where the time of a step's tokens may bend: few of them wait for memory, many for compute."""
TOKEN_TERMS = ("token_ms", *(f"token_ms_from_{tokens}" for tokens in KNOTS_TOKENS[1:]))
TERMS = (
    "step_ms",
    *TOKEN_TERMS,
    "row_ms",
    "prefill_ms",
    "prompt_ms",
    "prefill_pair_ms",
    "decode_kv_ms",
)
"""What each step takes, token of it, request in it; more where there are prompts, for each prompt
and each pair of tokens it attends to; and for each token of KV cache read."""
LEAST_BEYOND = 50
"""Steps beyond a knot from which a line of its own is fitted."""


class FittedSteps(Tabled):
    """``TERMS`` times their coefficients, none of them below 0."""

    def __init__(self, linear: Linear, *, rows: int, largest_tokens: int) -> None:
        self.linear = linear
        self.rows = rows
        self.largest_tokens = largest_tokens
        """Tokens of the largest step seen; what is said of larger ones is extrapolated."""
        ms = self.coefficients
        # Its last line goes on.
        lines = _lines(np.arange(KNOTS_TOKENS[-1] + 2.0))
        tokens_ms = ms["step_ms"] + lines @ np.array([ms[term] for term in TOKEN_TERMS])
        # By requests alone: the same for chunks and contexts of every size.
        prompts_ms = np.zeros((2, 2, 2))
        prompts_ms[1] = ms["prompt_ms"]
        two = np.array([0.0, 1.0])
        super().__init__(
            NO_STEPS._replace(
                tokens_ms=tokens_ms,
                decode_tokens_ms=tokens_ms,
                rows_ms=np.array([0.0, ms["row_ms"]]),
                prefill_ms=ms["prefill_ms"],
                prefill_pair_ms=ms["prefill_pair_ms"],
                decode_kv_ms=ms["decode_kv_ms"],
                prefill_requests=two,
                prefill_mean_chunk=two,
                prefill_mean_kv=two,
                prefill_grid_ms=prompts_ms,
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
    free = _free(rows.tokens)
    found = fit_linear(columns @ free, rows.ms)
    linear = Linear(free @ found.coefficients, free @ found.covariance @ free.T, found.scatter)
    return FittedSteps(linear, rows=len(rows), largest_tokens=int(rows.tokens.max()))


def _free(tokens: Floats) -> Floats:
    """[term, free term]: a line that too few steps reach goes on as the one before it."""
    free = np.eye(len(TERMS))
    for number, knot in list(enumerate(KNOTS_TOKENS))[1:]:
        term = TERMS.index(TOKEN_TERMS[number])
        if (tokens > knot).sum() < LEAST_BEYOND:
            free[term] = free[term - 1]
    return free[:, free.any(axis=0)]


def _lines(tokens: Floats) -> Floats:
    """[row, line]: how many of a step's tokens lie between a knot and the next."""
    low = np.array(KNOTS_TOKENS, dtype=np.float64)
    high = np.append(low[1:], np.inf)
    return np.clip(tokens[:, None], low, high) - low


def _columns(
    prefill_requests: Floats,
    prefill_tokens: Floats,
    pairs: Floats,
    decode_requests: Floats,
    decode_kv_tokens: Floats,
) -> Floats:
    """[row, term], in the order of ``TERMS``."""
    return np.column_stack(
        [
            np.ones(len(pairs)),
            _lines(prefill_tokens + decode_requests),
            prefill_requests + decode_requests,
            (prefill_tokens > 0).astype(np.float64),
            prefill_requests,
            pairs,
            decode_kv_tokens,
        ]
    )
