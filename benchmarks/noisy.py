"""The simulated engine with the noise of a real one, for whatever must cope with noise.

Two runs of the same differ by a factor, and requests that are neighbours are slow together. An
engine slower by a factor f, offered a rate r, is the noiseless engine offered r x f on a clock f
times slower. Of f only such are drawn that r x f is a power of 2 ** (1 / 64), or f itself where
there is no rate: so runs come again and need no simulation.
"""

import math
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import accumulate

from benchmarks.known_runs import KnownRun, KnownRuns
from objectives import Load, Measurement, RequestResult
from runners import Description
from search_spaces import Config

STEPS_PER_DOUBLING = 64
PER_SECOND = ("mfu", "mbu")
"""Of an engine's own account, what falls as it gets slower."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """Standard deviations of logarithms."""

    of_run: float = 0.03
    """Of the factor by which all of a run is slower."""
    of_request: float = 0.03
    """Of a request's own factor, within its run."""
    correlation: float = 0.9
    """Of neighbours' own factors: they are AR(1) in order of arrival."""

    def run_factor(self, rng: random.Random, request_rate: float = math.inf) -> float:
        """Of a run at this rate; infinite: at none."""
        doublings = rng.gauss(0, self.of_run) / math.log(2)
        if not self.of_run:
            return 1.0
        at = math.log2(request_rate) if math.isfinite(request_rate) else 0.0
        return float(2 ** (round(STEPS_PER_DOUBLING * (at + doublings)) / STEPS_PER_DOUBLING - at))

    def request_factors(self, rng: random.Random, number: int) -> list[float]:
        new = self.of_request * math.sqrt(1 - self.correlation**2)
        first = rng.gauss(0, self.of_request)
        others = (rng.gauss(0, new) for _ in range(number - 1))
        drift = accumulate(others, lambda x, e: self.correlation * x + e, initial=first)
        return [math.exp(x) for x in drift]


@dataclass(slots=True)
class NoisyEngine:
    """A launched engine; its age is what its noisy runs take."""

    runs: KnownRuns
    config: Config
    noise: Noise
    rng: random.Random
    age_s: float
    fresh: bool = True

    def measure(self, load: Load) -> Measurement:
        closed = load.workload.concurrency is not None
        rate = math.inf if closed else load.workload.request_rate
        factor = self.noise.run_factor(self.rng, rate)
        run = self.runs.run(_on_its_clock(self.config, factor), load.workload, faster=factor)
        own = self.noise.request_factors(self.rng, len(load.workload.requests))
        results = _stretched(run, load, factor, own)
        found = until_over(load, results)
        account = {k: v / factor if k in PER_SECOND else v for k, v in run.engine.items()}
        measurement = replace(found, gpus=run.gpus, engine=account)
        self.age_s += measurement.duration_s
        return measurement


class NoisyRunner:
    """Launches noisy engines; every launch is one, and takes as long as without noise."""

    def __init__(self, runs: KnownRuns, noise: Noise, *, seed: int) -> None:
        self._runs, self._noise = runs, noise
        self._rng = random.Random(seed)
        inner = runs.runner.description
        self.description = Description(
            engine="noisy",
            version=inner.version,
            simulated=True,
            uncertainty=f"runs differ by {noise.of_run:.0%} (one standard deviation)",
            noiseless=False,
        )

    @contextmanager
    def launch(self, config: Config) -> Iterator[NoisyEngine]:
        age_s = self._runs.launch_s(config)
        yield NoisyEngine(self._runs, config, self._noise, self._rng, age_s)


def _on_its_clock(config: Config, factor: float) -> Config:
    """The config of the engine that is not slower: what is set in milliseconds is, too."""
    wait_ms = float(config.get("batch_wait_timeout_ms", 0))
    return {**config, "batch_wait_timeout_ms": wait_ms / factor} if wait_ms else config


def _stretched(run: KnownRun, load: Load, factor: float, own: list[float]) -> list[RequestResult]:
    requests = load.workload.requests
    sent_s = [r.arrival_s for r in requests]
    if load.workload.concurrency is not None:
        sent_s = (run.arrival_s * factor).tolist()
    latencies = zip(run.ttft_ms.tolist(), run.e2el_ms.tolist(), own, strict=True)
    return [
        RequestResult(
            at_s, r.input_tokens, r.output_tokens, ttft_ms * factor * x, e2el_ms * factor * x
        )
        for at_s, r, (ttft_ms, e2el_ms, x) in zip(sent_s, requests, latencies, strict=True)
    ]


def until_over(load: Load, results: list[RequestResult]) -> Measurement:
    """A run of which all is known, as seen by a client who does not wait for all of it.

    It ends when patience does, or as soon as the watch, shown the requests in the order in which
    they finish, says so; what would have finished later has not.
    """
    first_s = min(result.arrival_s for result in results)
    end_s = max(result.arrival_s for result in results) + load.patience_s
    watch = load.watch() if load.watch else None
    order = sorted(results, key=finish_s)
    for result in order if watch else ():
        if finish_s(result) > end_s:
            break
        if watch and watch.over(result, finish_s(result)):
            end_s = finish_s(result)
            break
    seen = tuple(r if finish_s(r) <= end_s else _unfinished(r) for r in results)
    end_s = min(end_s, finish_s(order[-1]))
    return Measurement(results=seen, duration_s=end_s - first_s, gpus=1)


def finish_s(result: RequestResult) -> float:
    """On the clock of the arrivals; never, if it was not answered."""
    return result.arrival_s + (math.inf if result.e2el_ms is None else result.e2el_ms / 1000)


def _unfinished(result: RequestResult) -> RequestResult:
    return RequestResult(result.arrival_s, result.input_tokens, result.output_tokens)
