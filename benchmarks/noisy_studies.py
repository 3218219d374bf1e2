"""Studies on the simulated engine made noisy, for benchmarks of what must cope with noise."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks.known_runs import KnownRuns
from runners.simulated import SimulatedRunner
from tuner.engines import simulated
from tuner.options import Options
from tuner.problem import Problem
from tuner.sizing import size_to_default
from tuner.spec import StudySpec, problem_of, resolve

STUDIES: tuple[dict[str, Any], ...] = (
    {"objective": "chat", "gpu": "h100_sxm", "gpus": 4},
    {"objective": "api", "gpu": "a100_sxm", "gpus": 2},
    {"objective": "rag", "gpu": "h100_sxm", "gpus": 2},
    {"objective": "summarize", "gpu": "l40s", "gpus": 1},
)
"""Llama 3.1 8B, all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """A problem sized to its default config, and the engine without its noise."""

    name: str
    spec: StudySpec
    problem: Problem
    runner: SimulatedRunner
    runs: KnownRuns


def studies() -> Iterator[Study]:
    for asked in STUDIES:
        spec, flows = resolve(Options(seed=1, engine="simulated", **asked))
        problem = problem_of(
            spec, tuple(f.workload for f in flows), tuple(f.redrawn for f in flows)
        )
        runner = simulated(spec)
        problem, _ = size_to_default(problem, runner, spec.sized_to_default, lambda said: None)
        name = f"{spec.objective} on {spec.target.gpus} x {spec.target.hardware}"
        yield Study(name=name, spec=spec, problem=problem, runner=runner, runs=KnownRuns(runner))
