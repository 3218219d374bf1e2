"""What a study file may say: presets and the user's own YAML files, checked entry by entry.

The only place where pydantic meets our dataclasses; ``docs/study.schema.json`` is made from it.
"""

import json
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field, TypeAdapter

from objectives import Quadrant
from objectives.arrivals import (
    AllAtOnce,
    Arrivals,
    ClosedLoop,
    Constant,
    Fixed,
    Gamma,
    Lengths,
    Lognormal,
    Synthetic,
    Uniform,
)
from tuner.limits import MOST_IN_FLIGHT, MOST_TOKENS, RATES

CLOSED: ConfigDict = ConfigDict(extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)
# Strict: `true` is no number, nor is a text that looks like one.
Tokens = Annotated[int, Field(ge=1, le=MOST_TOKENS, strict=True)]
Length = Annotated[float, Field(ge=1, le=MOST_TOKENS, strict=True)]
Share = Annotated[float, Field(gt=0, le=1, strict=True)]
Rate = Annotated[float, Field(ge=RATES[0], le=RATES[1], strict=True)]
Seconds = Annotated[float, Field(ge=0, strict=True)]
Setting = bool | int | float | str
Process = Literal["poisson", "gamma", "constant", "closed-loop", "all-at-once"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LengthsEntry:
    """Either ``tokens`` (with ``spread``: uniform down to that share) or a lognormal."""

    __pydantic_config__: ClassVar[ConfigDict] = CLOSED
    tokens: Tokens | None = None
    spread: Share | None = None
    """Lengths are uniform from this share of ``tokens`` up to it."""
    median: Length | None = None
    p90: Length | None = None
    longest: Tokens | None = None
    """What the lognormal is cut off at."""

    def __post_init__(self) -> None:
        self.lengths()

    def lengths(self) -> Lengths:
        lognormal = (self.median, self.p90, self.longest)
        if self.tokens is not None and lognormal == (None, None, None):
            return Fixed(self.tokens) if self.spread is None else Uniform(self.tokens, self.spread)
        if self.tokens is not None or self.spread is not None or None in lognormal:
            raise ValueError(
                "give `tokens` (and `spread`), or `median`, `p90` and `longest`, all three"
            )
        return Lognormal(self.median or 0, self.p90 or 0, self.longest or 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class LengthsPair:
    __pydantic_config__: ClassVar[ConfigDict] = CLOSED
    input: LengthsEntry
    """Of prompts."""
    output: LengthsEntry
    """Of answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrivalsEntry:
    """A process of arrivals; without a rate, 70 % of the default config's capacity is offered."""

    __pydantic_config__: ClassVar[ConfigDict] = CLOSED
    process: Process | None = None
    """Poisson when ``None``; a trace has its own."""
    request_rate: Rate | None = None
    """Requests per second for the whole deployment."""
    cv: Annotated[float, Field(gt=0, le=100, strict=True)] | None = None
    """Coefficient of variation of the gaps of ``process: gamma``."""
    concurrency: Annotated[int, Field(ge=1, le=MOST_IN_FLIGHT, strict=True)] | None = None
    """Requests in flight with ``process: closed-loop``."""

    def __post_init__(self) -> None:
        closed, burst = self.process == "closed-loop", self.process == "all-at-once"
        if closed != (self.concurrency is not None):
            raise ValueError("`process: closed-loop` and `concurrency` go together")
        if self.cv is not None and self.process != "gamma":
            raise ValueError("`cv` is for `process: gamma`")
        if self.request_rate is not None and (closed or burst):
            raise ValueError(f"`request_rate` has no meaning with `process: {self.process}`")

    def arrivals(self) -> Arrivals:
        rate = 1.0 if self.request_rate is None else self.request_rate
        match self.process:
            case "closed-loop":
                return ClosedLoop(self.concurrency or 1)
            case "all-at-once":
                return AllAtOnce()
            case "constant":
                return Constant(rate)
            case _:
                return Gamma(rate, 1.0 if self.cv is None else self.cv)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadEntry:
    """A trace to replay, or a recipe to draw requests from."""

    __pydantic_config__: ClassVar[ConfigDict] = CLOSED
    trace: Annotated[str, Field(min_length=1)] | None = None
    """Relative to the study file."""
    window: tuple[Seconds, Seconds] | None = None
    """From and to, in seconds of the trace."""
    scale_tokens: Annotated[float, Field(gt=0, le=1000, strict=True)] | None = None
    """What the trace's lengths are multiplied by."""
    lengths: LengthsPair | None = None
    arrivals: ArrivalsEntry = field(default_factory=ArrivalsEntry)
    prefix_share: Annotated[float, Field(ge=0, lt=1, strict=True)] | None = None
    """Share of every prompt that is the same text."""
    source: str = "synthetic"
    """Where the numbers come from, for people."""

    def __post_init__(self) -> None:
        if (self.trace is None) == (self.lengths is None):
            raise ValueError("give `trace` or `lengths`, one of them")
        if self.trace is None and (self.window or self.scale_tokens is not None):
            raise ValueError("`window` and `scale_tokens` are for a `trace`")
        if self.trace is not None and self.prefix_share is not None:
            raise ValueError("`prefix_share` is for `lengths`; a trace brings its own prefixes")
        if self.trace is not None and self.arrivals.process in ("poisson", "gamma", "constant"):
            raise ValueError(
                "a trace has its own arrival times; `arrivals` may give it a `request_rate`, "
                "or make it closed-loop or all-at-once"
            )
        if self.window is not None and not self.window[0] < self.window[1]:
            raise ValueError(
                "`window` must be [from, to] with from < to; any other holds no request, and "
                "a load of zero measures nothing"
            )

    def recipe(self) -> Synthetic:
        """How to draw the traffic of a workload that names no trace."""
        if self.lengths is None:
            raise ValueError("A workload needs `trace` or `lengths`.")
        return Synthetic(
            lengths=(self.lengths.input.lengths(), self.lengths.output.lengths()),
            arrivals=self.arrivals.arrivals(),
            prefix_share=self.prefix_share or 0.0,
            source=" ".join(self.source.split()),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectiveFile:
    """A preset or a study file: what is promised, on which traffic, over which knobs."""

    __pydantic_config__: ClassVar[ConfigDict] = CLOSED
    extends: str | None = None
    """The preset whose entries stand where this file has none."""
    quadrant: Quadrant | None = None
    sla: dict[str, str] | None = None
    """Where each number comes from, by bound, such as ``p95_ttft_ms<=500``."""
    workload: WorkloadEntry | None = None
    set: dict[str, Setting] = field(default_factory=dict)
    """Knobs that are fixed."""
    range: dict[str, str] = field(default_factory=dict)
    """``LOW:HIGH`` or ``A,B,C`` by knob."""


ADAPTER = TypeAdapter(ObjectiveFile)


def schema() -> str:
    """The format as a JSON schema: ``python -m tuner.study_file > docs/study.schema.json``."""
    return json.dumps(ADAPTER.json_schema(), indent=2)


if __name__ == "__main__":
    print(schema())
