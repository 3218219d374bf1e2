"""How fast the simulated engine is on one core, as JSON: python -m benchmarks.simulator_speed

Two loads on the default config: the chat preset at a stated rate, where prompts and decodes mix,
and requests that all arrive at once with hardly a prompt, so that nearly every step decodes only.
"""

import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

from benchmarks.machine import options, publish
from objectives import Load, Measurement, Workload
from objectives.arrivals import AllAtOnce, Fixed, Synthetic
from runners.simulated import SimulatedRunner
from search_spaces import Config
from tuner.options import Options
from tuner.spec import deployment_of, problem_of, resolve

PROMPT_TOKENS = 16
ANSWER_TOKENS = 512


def chat(requests: int, request_rate: float) -> tuple[SimulatedRunner, Config, Workload]:
    """The chat preset on 4 x H100 with the default config."""
    asked = Options(objective="chat", requests=requests, request_rate=request_rate, gpus=4)
    spec, flows = resolve(asked)
    problem = problem_of(spec, tuple(flow.workload for flow in flows))
    return SimulatedRunner(deployment_of(spec)), problem.first[0][1], flows[0].workload


def decode_only(requests: int) -> Workload:
    recipe = Synthetic(lengths=(Fixed(PROMPT_TOKENS), Fixed(ANSWER_TOKENS)), arrivals=AllAtOnce())
    return recipe.workload("decode only", requests=requests, seed=0)


def timed(run: Callable[[], Measurement]) -> tuple[Measurement, float, float]:
    """(what was measured, wall seconds, CPU seconds)."""
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    measurement = run()
    return measurement, time.perf_counter() - wall_s, time.process_time() - cpu_s


def of(
    runner: SimulatedRunner, config: Config, workload: Workload, repeats: int
) -> dict[str, float]:
    """The first run computes step times that the others find in the cache."""
    load = Load(workload=workload)
    with runner.launch(config) as engine:
        measurement, first_s, _ = timed(lambda: engine.measure(load))
        again = [timed(lambda: engine.measure(load)) for _ in range(repeats)]
    wall_s = median(wall_s for _, wall_s, _ in again)
    steps, requests = measurement.engine["engine_steps"], len(workload.requests)
    return {
        "requests": requests,
        "output_tokens": sum(request.output_tokens for request in workload.requests),
        "engine_steps": steps,
        "mean_running_per_replica": round(measurement.engine["mean_running"], 1),
        "simulated_s": round(measurement.duration_s, 2),
        "first_wall_s": round(first_s, 4),
        "median_wall_s": round(wall_s, 4),
        "median_cpu_s": round(median(cpu_s for _, _, cpu_s in again), 4),
        "engine_steps_per_s": round(steps / wall_s),
        "requests_per_s": round(requests / wall_s),
        "simulated_s_per_s": round(measurement.duration_s / wall_s, 1),
    }


def measure(requests: int, request_rate: float, repeats: int) -> Mapping[str, Any]:
    runner, config, mixed = chat(requests, request_rate)
    return {
        "engine": runner.description.version,
        "config": dict(config),
        "repeats": repeats,
        "mixed": {"request_rate_per_s": request_rate, **of(runner, config, mixed, repeats)},
        "decode_only": of(runner, config, decode_only(requests), repeats),
    }


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--requests", type=int, default=600, metavar="N")
    parser.add_argument("--request-rate", type=float, default=50.0, metavar="PER_S")
    parser.add_argument("--repeats", type=int, default=20, metavar="N")
    given = parser.parse_args()
    publish(lambda: measure(given.requests, given.request_rate, given.repeats), given.out)


if __name__ == "__main__":
    main()
