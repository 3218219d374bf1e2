"""How long one engine step takes: the protocol every step-time model keeps."""

from typing import Protocol


class StepTime(Protocol):
    """One replica's engine step, in milliseconds, from what is batched in it."""

    source: str
    """Where the times come from, for people."""
    uncertainty: str
    """How far they are to be trusted, in one sentence with its source."""

    def step_ms(
        self,
        prefill_requests: int,
        prefill_tokens: int,
        prefill_kv_tokens: int,
        decode_requests: int,
        decode_kv_tokens: int,
        drafted_tokens: int = 0,
    ) -> float:
        """Milliseconds of one step.

        Args:
            prefill_requests: requests with a prompt chunk in the step.
            prefill_tokens: prompt tokens computed, summed over them.
            prefill_kv_tokens: tokens of theirs computed in earlier steps, summed.
            decode_requests: requests that get one token each.
            decode_kv_tokens: tokens in their KV cache before the step, summed.
            drafted_tokens: speculated ones that are verified beside them, summed.
        """
        ...
