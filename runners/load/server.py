"""Where a load is sent, and what came of it."""

from collections.abc import Mapping
from dataclasses import dataclass

from objectives import RequestResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """An OpenAI-compatible server with ``/v1/completions``."""

    url: str
    """Scheme, host, port and perhaps a path; no slash at its end and no ``/v1``."""
    model: str
    """The name it is served under."""
    vocab_size: int | None = None
    """Prompts are token ids below this; ``None``: English words, as the server counts them."""
    api_key_env: str | None = None
    """The environment variable that holds the key; the key itself is written nowhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What became of every request of a load."""

    results: tuple[RequestResult, ...]
    """One per request of the workload, in its order."""
    duration_s: float
    """From the first intended send to the last answer, or to the end of a run that was cut."""
    p99_send_lag_ms: float
    """How late the client itself was; it is part of every latency."""
    errors: Mapping[str, int]
    """Messages of failed requests, counted; the server's words are shortened to one line."""
    prompt_tokens: int
    """As the server counted, over completed requests; so are ``completion_tokens``."""
    completion_tokens: int
