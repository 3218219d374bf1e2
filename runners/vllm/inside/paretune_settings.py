"""The knobs that can be turned on a running engine, by our names, and what each may be set to."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

POLICIES = ("continuous", "prefill_first", "decode_first", "static")
MAX_TIMEOUT_MS = 5000
MAX_MIN_REQUESTS = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Caps:
    """What the launch flags sized the engine for."""

    max_num_seqs: int
    max_num_batched_tokens: int
    max_model_len: int
    enable_chunked_prefill: bool = True
    draft_tokens: int = 0
    """Slots of the token budget that a draft model takes from every request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the scheduler goes by. Set one to what the launch flags say, then ``turned``."""

    max_num_seqs: int
    max_num_batched_tokens: int
    long_prefill_token_threshold: int = 0
    batch_wait_timeout_ms: float = 0
    batch_wait_min_requests: int = 0
    """0: as many as there are free slots."""
    batch_policy: str = "continuous"

    def turned(self, knobs: Mapping[str, Any], caps: Caps) -> "Settings":
        """These settings with some of the knobs turned, all of them checked.

        Raises:
            ValueError: a knob is unknown, of the wrong type or out of range; nothing is turned.
        """
        if unknown := sorted(set(knobs) - set(NAMES)):
            raise ValueError(f"A knob must be one of {', '.join(NAMES)}, but got {unknown[0]}.")
        for name, value in knobs.items():
            _check_type(name, value)
        settings = Settings(**{**asdict(self), **knobs})
        settings._check_ranges(caps)
        return settings

    def _check_ranges(self, caps: Caps) -> None:
        seqs, tokens = self.max_num_seqs, self.max_num_batched_tokens
        _within("max_num_seqs", seqs, 1, caps.max_num_seqs)
        _within("max_num_batched_tokens", tokens, 1, caps.max_num_batched_tokens)
        threshold = self.long_prefill_token_threshold
        _within("long_prefill_token_threshold", threshold, 0, caps.max_model_len)
        _within("batch_wait_timeout_ms", self.batch_wait_timeout_ms, 0, MAX_TIMEOUT_MS)
        _within("batch_wait_min_requests", self.batch_wait_min_requests, 0, MAX_MIN_REQUESTS)
        if self.batch_policy not in POLICIES:
            raise ValueError(
                f"`batch_policy` must be one of {', '.join(POLICIES)}, "
                f"but got {self.batch_policy}."
            )
        if seqs > tokens:
            raise ValueError(
                "`max_num_seqs <= max_num_batched_tokens` must hold, "
                f"but got max_num_seqs={seqs}, max_num_batched_tokens={tokens}."
            )
        if not caps.enable_chunked_prefill and tokens < caps.max_model_len:
            raise ValueError(
                "Without chunked prefill `max_num_batched_tokens >= max_model_len` must hold, "
                f"but got max_num_batched_tokens={tokens}, max_model_len={caps.max_model_len}."
            )
        if tokens <= caps.draft_tokens:
            raise ValueError(
                f"`max_num_batched_tokens` must exceed the {caps.draft_tokens} tokens drafted "
                f"per request, but got max_num_batched_tokens={tokens}."
            )


NAMES = tuple(field.name for field in fields(Settings))
_TYPES: dict[str, tuple[type, ...]] = {
    "batch_policy": (str,),
    "batch_wait_timeout_ms": (int, float),
}


def _check_type(name: str, value: object) -> None:
    types = _TYPES.get(name, (int,))
    if isinstance(value, bool) or not isinstance(value, types):
        wanted = " or ".join(kind.__name__ for kind in types)
        raise ValueError(f"`{name}` must be of type {wanted}, but got {type(value).__name__}.")


def _within(name: str, value: float, low: int, high: int) -> None:
    if not low <= value <= high:
        raise ValueError(f"`{low} <= {name} <= {high}` must hold, but got {name}={value}.")
