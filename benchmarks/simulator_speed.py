"""How fast the simulated engine is, as JSON: python -m benchmarks.simulator_speed

Engine steps a second of one core by step-time model, on the chat preset at a stated rate, where
prompts and decodes mix, and on answers that all begin at once, where nearly every step decodes
only; and many configs of the chat search space tried one after the other on some processes.
"""

import os
import random
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from statistics import median
from typing import Any

import numpy as np

from benchmarks.machine import options, publish
from objectives import Load, Workload
from objectives.arrivals import AllAtOnce, Fixed, Synthetic
from runners import EngineError
from runners.simulated import SimulatedRunner
from runners.simulated.calibration.fitted import TERMS, FittedSteps
from runners.simulated.calibration.least_squares import Linear
from runners.simulated.compiled.serve import limits_of, serve
from runners.simulated.compiled.speculation import Model
from runners.simulated.compiled.steps import Steps
from runners.simulated.prefixes import in_kv_blocks
from runners.simulated.settings import SchedulerSettings
from runners.simulated.step_table import NO_SPECULATION
from runners.simulated.step_times import step_time
from search_spaces import Config, Deployment
from search_spaces.vllm import kv_tokens
from tuner.options import Options
from tuner.problem import Problem
from tuner.spec import deployment_of, problem_of, resolve

PROMPT_TOKENS = 16
ANSWER_TOKENS = 512
GPUS = 4


class Drawn:
    """Draws every knob's value uniformly, or by its logarithm."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def suggest_int(self, name: str, low: int, high: int, *, step: int, log: bool) -> int:
        if log:
            return round(low * (high / low) ** self._random.random())
        return self._random.randrange(low, high + 1, step)

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        return self._random.uniform(low, high)

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self._random.choice(choices)


@cache
def chat(requests: int, request_rate: float) -> tuple[Problem, Deployment, Workload]:
    """The chat preset on 4 x H100."""
    asked = Options(objective="chat", requests=requests, request_rate=request_rate, gpus=GPUS)
    spec, flows = resolve(asked)
    problem = problem_of(spec, tuple(flow.workload for flow in flows))
    return problem, deployment_of(spec), flows[0].workload


def linear() -> FittedSteps:
    """As if fitted to a log: about what an 8B model takes on a H100."""
    told_ms = {"step_ms": 6.0, "token_ms": 0.03, "prefill_pair_ms": 1e-6, "decode_kv_ms": 5e-5}
    found = Linear(
        np.array([told_ms.get(term, 0.0) for term in TERMS]),
        np.zeros((len(TERMS), len(TERMS))),
        scatter=0.0,
    )
    return FittedSteps(found, rows=0, largest_tokens=8192)


def decode_only(requests: int) -> Workload:
    recipe = Synthetic(lengths=(Fixed(PROMPT_TOKENS), Fixed(ANSWER_TOKENS)), arrivals=AllAtOnce())
    return recipe.workload("decode only", requests=requests, seed=0)


def speed(
    deployment: Deployment, config: Config, steps: Steps, workload: Workload, repeats: int
) -> dict[str, float]:
    """The first run is left out: it may compile."""
    workload = in_kv_blocks(workload)
    limits = limits_of(
        SchedulerSettings.of(config), group_tokens=workload.block_tokens, prefix_caching=True
    )

    def timed() -> tuple[int, float]:
        began_s = time.process_time()
        _, totals = serve(
            Load(workload=workload),
            limits,
            Model(steps, NO_SPECULATION),
            replicas=int(config["data_parallel_size"]),
            blocks=kv_tokens(deployment, config) // 16,
        )
        return totals.steps, time.process_time() - began_s

    timed()
    runs = [timed() for _ in range(repeats)]
    taken_s = median(taken_s for _, taken_s in runs)
    return {
        "engine_steps": runs[0][0],
        "median_cpu_s": round(taken_s, 4),
        "engine_steps_per_cpu_s": round(runs[0][0] / taken_s),
    }


def tried(share: tuple[int, int, int, float]) -> tuple[int, int]:
    """Some configs of the space under one load: (served, that do not fit)."""
    seed, configs, requests, request_rate = share
    problem, deployment, workload = chat(requests, request_rate)
    runner, drawn, served, unfit = SimulatedRunner(deployment), Drawn(seed), 0, 0
    while served + unfit < configs:
        config = problem.space.suggest(drawn)
        if problem.space.broken_rules(config):
            continue
        try:
            with runner.launch(config) as engine:
                engine.measure(Load(workload=workload))
            served += 1
        except EngineError:
            unfit += 1
    return served, unfit


def searched(configs: int, processes: int, requests: int, request_rate: float) -> dict[str, Any]:
    """All of the configs, start of the processes included."""
    shares = [(seed, configs // processes, requests, request_rate) for seed in range(processes)]
    began_s = time.perf_counter()
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        found = list(pool.map(tried, shares))
    taken_s = time.perf_counter() - began_s
    return {
        "configs": sum(map(sum, found)),
        "do_not_fit": sum(unfit for _, unfit in found),
        "processes": processes,
        "requests": requests,
        "wall_s": round(taken_s, 1),
        "configs_per_s": round(sum(map(sum, found)) / taken_s, 1),
    }


def measure(
    requests: int, request_rate: float, repeats: int, configs: int, processes: int
) -> Mapping[str, Any]:
    problem, deployment, mixed = chat(requests, request_rate)
    config = problem.first[0][1]
    size = int(config["tensor_parallel_size"])
    models = {
        "measured kernels": step_time(deployment, tensor_parallel_size=size),
        "roofline": step_time(deployment, tensor_parallel_size=size, prefer="roofline"),
        "linear": linear(),
    }
    return {
        "config": dict(config),
        "request_rate_per_s": request_rate,
        "repeats": repeats,
        "by_model": {
            name: {
                "source": model.source,
                "chat": speed(deployment, config, model.steps, mixed, repeats),
                "decode_only": speed(
                    deployment, config, model.steps, decode_only(requests), repeats
                ),
            }
            for name, model in models.items()
        },
        "search": searched(configs, processes, 500, request_rate) if configs else None,
    }


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--requests", type=int, default=600, metavar="N")
    parser.add_argument("--request-rate", type=float, default=50.0, metavar="PER_S")
    parser.add_argument("--repeats", type=int, default=10, metavar="N")
    parser.add_argument("--configs", type=int, default=10_000, metavar="N")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, metavar="N")
    given = parser.parse_args()
    publish(
        lambda: measure(
            given.requests, given.request_rate, given.repeats, given.configs, given.processes
        ),
        given.out,
    )


if __name__ == "__main__":
    main()
