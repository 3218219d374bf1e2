"""What a step-time model is corrected by, and the model so corrected."""

from dataclasses import dataclass

from runners.simulated.compiled.state import Floats
from runners.simulated.compiled.steps import Steps


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """1, 1, 0, 0 leave a model as it is."""

    decode_factor: float = 1.0
    """Times the time of steps that only decode, of reading weights, and of decode attention."""
    prefill_factor: float = 1.0
    """Times what prompt tokens add to a step."""
    host_ms: float = 0.0
    """Added to every step."""
    api_ms: float = 0.0
    """Added to every request's time to the first token: what is in no step of the engine."""


def calibrated(steps: Steps, parameters: Parameters) -> Steps:
    """A model's steps by the parameters; ``api_ms`` is left to whoever reads results.

    In a step with prompts, what one token takes (reading the weights) is scaled as decode and
    what further tokens add, the few of decoding requests among them, as prefill. So equal factors
    scale every step alike, and a prompt token more never makes such a step shorter.
    """
    decode, prefill = parameters.decode_factor, parameters.prefill_factor
    return steps._replace(
        tokens_ms=_mixed(steps.tokens_ms, parameters) + parameters.host_ms,
        decode_tokens_ms=steps.decode_tokens_ms * decode + parameters.host_ms,
        rows_ms=steps.rows_ms * decode,
        prefill_ms=steps.prefill_ms * prefill,
        prefill_pair_ms=steps.prefill_pair_ms * prefill,
        prefill_token_ms=steps.prefill_token_ms * prefill,
        prefill_kv_ms=steps.prefill_kv_ms * prefill,
        prefill_grid_ms=steps.prefill_grid_ms * prefill,
        decode_ms=steps.decode_ms * decode,
        decode_kv_ms=steps.decode_kv_ms * decode,
        decode_grid_ms=steps.decode_grid_ms * decode,
        # A step takes the longer of GPU and host, and this comes on top of either.
        host_ms=steps.host_ms + parameters.host_ms,
    )


def _mixed(tokens_ms: Floats, parameters: Parameters) -> Floats:
    one_ms = tokens_ms[1]
    added_ms = parameters.prefill_factor * (tokens_ms - one_ms)
    mixed_ms: Floats = parameters.decode_factor * one_ms + added_ms
    return mixed_ms
