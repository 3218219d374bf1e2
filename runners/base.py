"""What every runner promises: launch an engine, measure it as often as wanted, leave nothing."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from objectives import Load, Measurement
from search_spaces import Config


class FailureKind(StrEnum):
    REFUSED = "refused"
    """The engine will not take these settings."""
    DOES_NOT_FIT = "does not fit"
    """The KV cache would not hold one longest request."""
    OUT_OF_MEMORY = "out of memory"
    NEVER_READY = "never ready"
    DIED = "died"
    NOTHING_COMPLETED = "nothing completed"
    HOST = "host"
    """The machine's trouble, not the config's: it says nothing about the config."""


RETRIED = frozenset({FailureKind.NEVER_READY, FailureKind.DIED})
"""Failures that may pass: such a config is tried once more before they count."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a config was not served. An answer, not a bug in the tuner."""

    kind: FailureKind
    detail: str


class EngineError(Exception):
    """Raised inside a runner; ``tuner.trial`` turns it into the ``Failure`` it carries.

    Args:
        engine_s: seconds of engine time spent on a launch that failed.
    """

    def __init__(self, kind: FailureKind, detail: str, *, engine_s: float = 0.0) -> None:
        super().__init__(f"{kind}: {detail}")
        self.failure = Failure(kind, detail)
        self.engine_s = engine_s


class Engine(Protocol):
    """A running engine."""

    @property
    def age_s(self) -> float:
        """Seconds since the launch began, or since the engine's last user left it; simulated
        seconds when simulated."""
        ...

    @property
    def fresh(self) -> bool:
        """Whether it was launched for this; ``False``: it was running already, and was retuned."""
        ...

    def measure(self, load: Load) -> Measurement: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What an engine is, for the first line a user reads and for every record kept."""

    engine: str
    version: str
    simulated: bool
    uncertainty: str
    """How far its figures are to be trusted, in one sentence."""
    noiseless: bool
    """Whether the same config and load always give the same figures."""


class Runner(Protocol):
    """Where engines come from."""

    @property
    def description(self) -> Description: ...

    def launch(self, config: Config) -> AbstractContextManager[Engine]:
        """Start the engine; on leaving the context, whatever happened, nothing of it is left.

        Raises:
            EngineError: the engine cannot be started with this config, or died.
        """
        ...
