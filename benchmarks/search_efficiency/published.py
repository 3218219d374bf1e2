"""Six surfaces of published GPU runs: parallelism by concurrency, every point of them measured.

A trial is a closed loop as published: ten prompts for each client, whatever load is asked for.
"""

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from benchmarks.noisy import until_over
from benchmarks.search_efficiency.surface import Surface, Truth
from benchmarks.twin_accuracy.measured import MEAN_LENGTH, Group, Row, read
from benchmarks.twin_accuracy.replay import PROMPTS_PER_CLIENT
from objectives import (
    Bound,
    Load,
    Measurement,
    Profile,
    Quadrant,
    Request,
    RequestResult,
    Workload,
)
from runners import Description
from runners.simulated.catalogue import gpu, model
from runners.simulated.engine import launch_s
from search_spaces import Choice, Config, Deployment, Int, Knob, Rule, SearchSpace
from tuner.problem import Case, Problem

EXCERPT = Path(__file__).parent / "published_runs"
REPEATS_TTFT, REPEATS_TPOT = 0.017, 0.003
"""Median differences between runs of one config in the whole collection, taken for standard
deviations of logarithms."""
KEPT = 0.5
"""At least this share of a surface's points keeps its promise."""
TP, SEQS = "tensor_parallel_size", "max_num_seqs"
Point = tuple[int, int]
"""Tensor-parallel size and concurrency."""


@dataclass(frozen=True, slots=True)
class Source:
    """Which rows make a surface."""

    group: Group
    input_tokens: int
    output_tokens: int


def _source(version: str, name: str, on: str, precision: str, tokens: tuple[int, int]) -> Source:
    group = Group(backend="vllm", version=version, model=name, gpu=on, precision=precision)
    return Source(group, *tokens)


SOURCES: Mapping[str, Source] = {
    "llama-70b-h100": _source("", "meta-llama/Llama-3.1-70B", "h100_sxm", "fp8", (1024, 1024)),
    "llama-70b-b200": _source("", "meta-llama/Llama-3.1-70B", "b200_sxm", "fp4", (8192, 1024)),
    "gpt-oss-120b-h100": _source("0.18.0", "openai/gpt-oss-120b", "h100_sxm", "fp4", (1024, 8192)),
    "gpt-oss-120b-h200": _source("0.18.0", "openai/gpt-oss-120b", "h200_sxm", "fp4", (8192, 1024)),
    "gpt-oss-120b-b200": _source("0.15.1", "openai/gpt-oss-120b", "b200_sxm", "fp4", (1024, 1024)),
    "minimax-m2.5-b300": _source(
        "0.19.0", "MiniMaxAI/MiniMax-M2.5", "b300_sxm", "fp8", (8192, 1024)
    ),
}


def published(name: str, folder: Path | None = None) -> Surface:
    """
    Args:
        folder: of the whole collection; by default the rows kept beside this file.

    Raises:
        ValueError: the folder does not hold the surface.
    """
    source = SOURCES[name]
    rows = [row for row in read(folder or EXCERPT).get(source.group, ()) if _is_of(row, source)]
    points = {(r.setup.tensor_parallel_size, r.setup.concurrency): r for r in rows}
    if len(points) < 12:
        raise ValueError(f"A surface needs 12 points, but {name} has {len(points)} there.")
    return surface(name, points)


def _is_of(row: Row, source: Source) -> bool:
    """Plain tensor parallelism, of the surface's traffic."""
    setup = row.setup
    plain = setup.attention_dp_size == setup.moe_ep_size == 1
    return plain and setup.traffic == (source.input_tokens, source.output_tokens)


def surface(name: str, points: Mapping[Point, Row]) -> Surface:
    """Of these runs of one traffic."""
    setup = next(iter(points.values())).setup
    space = _space(points)
    bounds = promise(list(points.values()))
    case = Case(
        profile=Profile(name="published", quadrant=Quadrant.ECONOMY, sla=bounds),
        workload=_workload(name, points),
    )
    most = max(tp for tp, _ in points)
    problem = Problem(
        objective="published",
        cases=(case,),
        gpus=most,
        space=space,
        first=(("default", space.default()),),
        seed=0,
        capacity=False,
        noiseless=False,
    )
    truths = {point: _truth(row, bounds) for point, row in points.items()}
    default = points[_point(space.default())]
    return Surface(
        name=name,
        about=f"{setup.group}, {setup.input_tokens} in, {setup.output_tokens} out",
        problem=problem,
        values={
            TP: tuple(sorted({tp for tp, _ in points})),
            SEQS: tuple(sorted({concurrency for _, concurrency in points})),
        },
        goal="throughput",
        simulated=False,
        launch_s=partial(_launch_s, setup.group),
        runner=lambda seed: PublishedRunner(points, random.Random(seed)),
        traffic=lambda requests: case.workload,
        truths=truths,
        measured_s=PROMPTS_PER_CLIENT * _e2el_ms(default, default.ttft_ms, default.tpot_ms) / 1000,
    )


def promise(rows: Sequence[Row]) -> tuple[Bound, ...]:
    """Limits of TTFT and TPOT at the lowest common quantile that keeps enough of the points.

    Halfway, in ratio, to the next slower point: none lies within the noise of its limit.
    """
    ttfts, tpots = sorted(r.ttft_ms for r in rows), sorted(r.tpot_ms for r in rows)
    for rank in range(len(rows) - 1):
        ttft_ms, tpot_ms = (math.sqrt(v[rank] * v[rank + 1]) for v in (ttfts, tpots))
        kept = [row for row in rows if row.ttft_ms <= ttft_ms and row.tpot_ms <= tpot_ms]
        if len(kept) >= KEPT * len(rows):
            break
    source = "the quantile that half of the points keep"
    return (
        Bound("mean_tpot_ms", "<=", float(f"{tpot_ms:.4g}"), source),
        Bound("mean_ttft_ms", "<=", float(f"{ttft_ms:.4g}"), source),
    )


def _truth(row: Row, bounds: tuple[Bound, ...]) -> Truth:
    limits = {bound.metric: bound.limit for bound in bounds}
    return Truth(
        throughput=row.setup.output_throughput(row.ttft_ms, row.tpot_ms)
        / row.setup.tensor_parallel_size,
        latency_ms=row.ttft_ms,
        feasible=row.ttft_ms <= limits["mean_ttft_ms"] and row.tpot_ms <= limits["mean_tpot_ms"],
    )


def _space(points: Mapping[Point, Row]) -> SearchSpace:
    sizes = tuple(sorted({tp for tp, _ in points}))
    by_size = {size: [c for tp, c in points if tp == size] for size in sizes}
    lowest, highest = (pick(c for _, c in points) for pick in (min, max))
    knobs = (
        Knob(name=TP, default=sizes[0], domain=Choice(sizes), about="GPUs that share the model"),
        Knob(
            name=SEQS,
            default=max(by_size[sizes[0]]),
            domain=Int(low=lowest, high=highest, log=True),
            about="requests in flight",
            turn="live",
        ),
    )
    within = Rule(
        "max_num_seqs is one that was published at this tensor_parallel_size",
        "of no other is anything known",
        lambda c: min(by_size[int(c[TP])]) <= int(c[SEQS]) <= max(by_size[int(c[TP])]),
    )
    return SearchSpace(
        engine="vllm",
        knobs=knobs,
        searched={knob.name: knob.domain for knob in knobs},
        fixed={},
        derive=lambda config: {},
        rules=(within,),
    )


def _workload(name: str, points: Mapping[Point, Row]) -> Workload:
    """As many requests as fill each point's loop twice or more: they are all alike."""
    setup = next(iter(points.values())).setup
    tokens = (round(MEAN_LENGTH * n) for n in (setup.input_tokens, setup.output_tokens))
    number = 2 * max(concurrency for _, concurrency in points)
    return Workload(name=name, requests=(Request(0.0, *tokens),) * number)


def _point(config: Config) -> Point:
    return int(config[TP]), int(config[SEQS])


def _launch_s(group: Group, config: Config) -> float:
    size = int(config[TP])
    on = Deployment(model=model(group.model), gpu=gpu(group.gpu), gpus=size, max_model_len=16_384)
    return launch_s(on, config)


def _e2el_ms(row: Row, ttft_ms: float, tpot_ms: float) -> float:
    return ttft_ms + (round(MEAN_LENGTH * row.setup.output_tokens) - 1) * tpot_ms


@dataclass(slots=True)
class PublishedEngine:
    """One point: every request of a run is alike, and runs differ as published ones do."""

    row: Row
    rng: random.Random
    age_s: float = 0.0
    fresh: bool = True

    def measure(self, load: Load) -> Measurement:
        ttft_ms = self.row.ttft_ms * math.exp(self.rng.gauss(0, REPEATS_TTFT))
        tpot_ms = self.row.tpot_ms * math.exp(self.rng.gauss(0, REPEATS_TPOT))
        e2el_ms = _e2el_ms(self.row, ttft_ms, tpot_ms)
        clients = self.row.setup.concurrency
        results = [
            RequestResult(
                index // clients * e2el_ms / 1000,
                r.input_tokens,
                r.output_tokens,
                ttft_ms,
                e2el_ms,
            )
            for index, r in enumerate(load.workload.requests)
        ]
        found = until_over(load, results)
        rounds = len(results) / clients
        self.age_s += found.duration_s * PROMPTS_PER_CLIENT / rounds
        return replace(found, gpus=self.row.setup.tensor_parallel_size)


@dataclass(slots=True)
class PublishedRunner:
    """Hands out points; how long a launch takes is for others to say."""

    points: Mapping[Point, Row]
    rng: random.Random
    description = Description(
        engine="published",
        version="vLLM as published",
        simulated=True,
        uncertainty=f"runs differ by {REPEATS_TTFT:.1%} in TTFT and {REPEATS_TPOT:.1%} in TPOT",
        noiseless=False,
    )

    @contextmanager
    def launch(self, config: Config) -> Iterator[PublishedEngine]:
        yield PublishedEngine(self.points[_point(config)], self.rng)
