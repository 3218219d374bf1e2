"""Static, continuous, prefill-first and decode-first batching side by side on one real vLLM.

    python -m benchmarks.batching_policies --model DIR --engine-command "DIR/bin/vllm serve"

One engine, launched once and retuned between the runs; the policies take turns, so that whatever
the machine does meanwhile befalls all of them. Each run offers the same requests at the same
times; the saturated run sends them all at once.
"""

import argparse
import math
import random
from collections.abc import Mapping
from pathlib import Path
from statistics import mean, stdev
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.machine import cpu_pressure_avg10_percent, publish
from benchmarks.real_engine import launch_on_cpu, vllm_options
from objectives import Load, Measurement, Workload
from objectives.arrivals import Synthetic, Uniform, poisson
from runners import EngineError, FailureKind
from runners.vllm import VllmRunner
from search_spaces import Config, Value

POLICIES: Mapping[str, Mapping[str, Value]] = {
    "continuous": {},
    "continuous, waits up to 50 ms": {"batch_wait_timeout_ms": 50},
    "static": {"batch_policy": "static"},
    "static, waits up to 50 ms": {"batch_policy": "static", "batch_wait_timeout_ms": 50},
    "static, waits up to 5000 ms": {"batch_policy": "static", "batch_wait_timeout_ms": 5000},
    "prefill-first": {"batch_policy": "prefill_first"},
    "decode-first": {"batch_policy": "decode_first"},
}
SHOWN = (
    "request_throughput",
    "output_throughput",
    "mean_ttft_ms",
    "p95_ttft_ms",
    "mean_tpot_ms",
    "p95_tpot_ms",
    "mean_e2el_ms",
    "p95_e2el_ms",
    "mean_running",
)


def measure(given: argparse.Namespace) -> Mapping[str, Any]:
    traffic = Synthetic(
        lengths=(Uniform(given.input_tokens, 0.5), Uniform(given.output_tokens, 0.5)),
        arrivals=poisson(given.request_rate),
    ).workload("policies", requests=given.requests, seed=given.seed)
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in POLICIES}
    with TemporaryDirectory() as logs:
        launch = launch_on_cpu(given, Path(logs), max_model_len=2048)
        base = {**launch.space.default(), "max_num_seqs": given.max_num_seqs}
        order = random.Random(given.seed)
        with VllmRunner(launch) as runner:
            for _ in range(given.repeats):
                for name in order.sample(list(POLICIES), len(POLICIES)):
                    runs[name].append(_both(runner, {**base, **POLICIES[name]}, traffic))
    return {
        "vllm": launch.installed.version,
        "model": launch.deployment.model.name.rpartition("/")[2],
        "max_num_seqs": given.max_num_seqs,
        "requests": given.requests,
        "request_rate_per_s": given.request_rate,
        "mean_input_tokens": mean(r.input_tokens for r in traffic.requests),
        "mean_output_tokens": mean(r.output_tokens for r in traffic.requests),
        "repeats": given.repeats,
        "policies": {name: _summarised(found) for name, found in runs.items()},
    }


def _both(runner: VllmRunner, config: Config, traffic: Workload) -> dict[str, Any]:
    """The offered load and the saturated one; void where they say nothing of the engine."""
    pressure = cpu_pressure_avg10_percent()
    try:
        with runner.launch(config) as engine:
            offered = engine.measure(Load(workload=traffic))
            saturated = engine.measure(Load(workload=traffic.at_rate(math.inf)))
    except EngineError as error:
        if error.failure.kind is not FailureKind.HOST:
            raise
        return {"void": str(error)}
    return {"void": None, "pressure": pressure, **_figures(offered, saturated)}


def _figures(offered: Measurement, saturated: Measurement) -> dict[str, Any]:
    found = {name: offered.metrics.get(name) for name in SHOWN}
    return {
        **found,
        "completed": len(offered.completed),
        "saturated_output_throughput": saturated.metrics["output_throughput"],
    }


def _summarised(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and standard deviation over the repeats that count."""
    kept = [run for run in runs if not run["void"]]
    found: dict[str, Any] = {
        "runs": len(kept),
        "void": [run["void"] for run in runs if run["void"]],
        "cpu_pressure_before_percent": [run["pressure"] for run in kept],
    }
    for name in (*SHOWN, "saturated_output_throughput"):
        values = [run[name] for run in kept if run[name] is not None]
        found[name] = {
            "mean": round(mean(values), 2) if values else None,
            "standard_deviation": round(stdev(values), 2) if len(values) > 1 else None,
        }
    return found


def main() -> None:
    parser = vllm_options(__doc__)
    parser.add_argument("--request-rate", type=float, default=6.0, metavar="R")
    parser.add_argument("--requests", type=int, default=120, metavar="N")
    parser.add_argument("--input-tokens", type=int, default=256, metavar="N")
    parser.add_argument("--output-tokens", type=int, default=64, metavar="N")
    parser.add_argument("--max-num-seqs", type=int, default=16, metavar="N")
    parser.add_argument("--repeats", type=int, default=3, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    given = parser.parse_args()
    publish(lambda: measure(given), given.out)


if __name__ == "__main__":
    main()
