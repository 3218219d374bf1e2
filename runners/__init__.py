"""How a config is tried out: start the engine, offer it the load, time what comes back."""

from runners.base import (
    RETRIED,
    Description,
    Engine,
    EngineError,
    Failure,
    FailureKind,
    Runner,
)

__all__ = [
    "RETRIED",
    "Description",
    "Engine",
    "EngineError",
    "Failure",
    "FailureKind",
    "Runner",
]
