"""Synthetic traffic: how long requests are and when they arrive, drawn from a seed."""

import math
import random
from dataclasses import dataclass
from typing import Protocol

from objectives.workload import Request, Workload

PREFIX_BLOCK_TOKENS = 16
"""Granularity of a synthetic shared prefix: vLLM's default KV block."""
P90_Z = 1.2815515655446004
"""The standard normal's 90th percentile."""
ROUNDING = 1e-9
"""0.55 x 100 tokens are 55, although a little more in binary."""


def _positive(**values: float) -> None:
    for name, value in values.items():
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"`{name} > 0` must hold, but got {value}.")


class Lengths(Protocol):
    """A distribution of token counts."""

    def draw(self, rng: random.Random) -> int: ...


@dataclass(frozen=True, slots=True)
class Fixed:
    tokens: int

    def __post_init__(self) -> None:
        _positive(tokens=self.tokens)

    def draw(self, rng: random.Random) -> int:
        return self.tokens


@dataclass(frozen=True, slots=True)
class Uniform:
    """Uniform in [spread x tokens, tokens], as InferenceMAX's random lengths."""

    tokens: int
    spread: float

    def __post_init__(self) -> None:
        _positive(tokens=self.tokens)
        if not 0 < self.spread <= 1:
            raise ValueError(f"`0 < spread <= 1` must hold, but got {self.spread}.")

    def draw(self, rng: random.Random) -> int:
        shortest = math.ceil(self.spread * self.tokens - ROUNDING)
        return rng.randint(max(1, shortest), self.tokens)


@dataclass(frozen=True, slots=True)
class Lognormal:
    """Lognormal with the given median and 90th percentile, cut off at ``longest``."""

    median: float
    p90: float
    longest: int

    def __post_init__(self) -> None:
        _positive(median=self.median, p90=self.p90, longest=self.longest)
        if not self.median <= self.p90 <= self.longest:
            raise ValueError(
                "`median <= p90 <= longest` must hold, but got "
                f"{self.median}, {self.p90}, {self.longest}."
            )

    def draw(self, rng: random.Random) -> int:
        sigma = math.log(self.p90 / self.median) / P90_Z
        tokens = rng.lognormvariate(math.log(self.median), sigma)
        return min(self.longest, max(1, round(tokens)))


@dataclass(frozen=True, slots=True)
class Empirical:
    """(input, output) pairs seen somewhere, drawn with replacement."""

    pairs: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        if not self.pairs:
            raise ValueError("An empirical length distribution needs at least one pair.")


class Arrivals(Protocol):
    """A process of arrival times."""

    def times(self, count: int, rng: random.Random) -> list[float]: ...


@dataclass(frozen=True, slots=True)
class Gamma:
    """Independent gaps of mean 1 / rate and coefficient of variation ``cv``; Poisson at 1.

    ``vllm bench serve --burstiness`` is 1 / cv**2.
    """

    request_rate: float
    cv: float = 1.0

    def __post_init__(self) -> None:
        _positive(request_rate=self.request_rate, cv=self.cv)

    def times(self, count: int, rng: random.Random) -> list[float]:
        shape = 1 / self.cv**2
        scale = 1 / (self.request_rate * shape)
        times, now = [], 0.0
        for _ in range(count):
            times.append(now)
            now += rng.gammavariate(shape, scale)
        return times


def poisson(request_rate: float) -> Gamma:
    """Memoryless arrivals."""
    return Gamma(request_rate, cv=1.0)


@dataclass(frozen=True, slots=True)
class Constant:
    """Evenly spaced arrivals."""

    request_rate: float

    def __post_init__(self) -> None:
        _positive(request_rate=self.request_rate)

    def times(self, count: int, rng: random.Random) -> list[float]:
        return [index / self.request_rate for index in range(count)]


@dataclass(frozen=True, slots=True)
class AllAtOnce:
    """Every request at time zero, as ``vllm bench serve --request-rate inf``."""

    def times(self, count: int, rng: random.Random) -> list[float]:
        return [0.0] * count


@dataclass(frozen=True, slots=True)
class ClosedLoop:
    """A fixed number in flight: the next is sent when one finishes."""

    concurrency: int

    def __post_init__(self) -> None:
        _positive(concurrency=self.concurrency)

    def times(self, count: int, rng: random.Random) -> list[float]:
        return [0.0] * count


@dataclass(frozen=True, slots=True, kw_only=True)
class Synthetic:
    """A recipe for a workload; the same seed gives the same requests."""

    lengths: tuple[Lengths, Lengths] | Empirical
    """Input and output lengths, drawn independently, or pairs seen together."""
    arrivals: Arrivals
    prefix_share: float = 0.0
    """Share of every prompt that is the same text, rounded down to whole KV blocks."""
    source: str = "synthetic"

    def __post_init__(self) -> None:
        if not 0 <= self.prefix_share < 1:
            raise ValueError(f"`0 <= prefix_share < 1` must hold, but got {self.prefix_share}.")

    def workload(self, name: str, *, requests: int, seed: int) -> Workload:
        """Draw ``requests`` requests."""
        _positive(requests=requests)
        # Times and lengths come from separate streams, so that another arrival
        # process leaves the lengths as they are.
        times = self.arrivals.times(requests, random.Random(f"{seed}/arrivals"))  # noqa: S311
        rng = random.Random(f"{seed}/lengths")  # noqa: S311
        drawn = [self._request(time, rng) for time in times]
        arrivals = self.arrivals
        return Workload(
            name=name,
            requests=tuple(drawn),
            concurrency=arrivals.concurrency if isinstance(arrivals, ClosedLoop) else None,
            block_tokens=PREFIX_BLOCK_TOKENS,
            source=self.source,
        )

    def _request(self, time: float, rng: random.Random) -> Request:
        if isinstance(self.lengths, Empirical):
            prompt, answer = rng.choice(self.lengths.pairs)
        else:
            prompt, answer = (lengths.draw(rng) for lengths in self.lengths)
        shared = math.floor(self.prefix_share * prompt + ROUNDING) // PREFIX_BLOCK_TOKENS
        return Request(time, prompt, answer, blocks=tuple(range(shared)))
