"""How much of an engine's time is spent measuring: knobs turned live against a launch per trial.

    python -m benchmarks.engine_time --model DIR --engine-command "DIR/bin/vllm serve"

Runs `tune` on real vLLM with two groups of launch knobs (prefix caching on and off), then the same
configs with a launch for each. An engine's time is from its launch to its end; waiting between
trials counts.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.child import spent, tune
from benchmarks.machine import publish
from benchmarks.real_engine import KV_CACHE_BYTES, launch_on_cpu, vllm_options
from objectives import Load
from runners.vllm import VllmRunner
from tuner.traces import read_workload


def measure(given: argparse.Namespace) -> Mapping[str, Any]:
    with TemporaryDirectory() as folder:
        study = Path(folder, "study")
        retuned = _study(given, Path(folder), study)
        lines = (study / "trials.jsonl").read_text("utf-8").splitlines()
        trials = [t for t in map(json.loads, lines) if t["origin"] != "confirm"]
        return {
            "requests": given.requests,
            "request_rate_per_s": given.request_rate,
            "retuned": retuned | _share(trials),
            "restarted": _restarted(given, study, trials[: given.restarts]),
        }


def _study(given: argparse.Namespace, folder: Path, study: Path) -> dict[str, Any]:
    asked = [
        "--objective",
        "chat",
        "--engine",
        "vllm",
        "--model",
        str(Path(given.model).resolve()),
    ]
    if given.engine_command:
        asked += ["--engine-command", given.engine_command]
    asked += ["--scale-tokens", str(given.scale_tokens), "--load", "offered", "--mlflow", "off"]
    asked += ["--requests", str(given.requests), "--request-rate", str(given.request_rate)]
    asked += ["--set", f"kv_cache_memory_bytes={KV_CACHE_BYTES}"]
    asked += ["--set", "enforce_eager=true", "--range", "enable_prefix_caching=true,false"]
    asked += ["--trials", str(given.trials), "--seed", "1", "--output", str(study)]
    taken = spent([tune(), *asked], folder=folder)
    if not (study / "trials.jsonl").exists():
        raise SystemExit(f"tune {' '.join(asked)} fails with exit status {taken.status}.")
    return {"exit_status": taken.status, "wall_s": round(taken.wall_s, 1)}


def _share(trials: list[dict[str, Any]]) -> dict[str, Any]:
    engine_s = sum(t["engine_s"] for t in trials)
    measured_s = sum(t["measured_s"] for t in trials)
    return {
        "trials": len(trials),
        "launches": len({t["launch_id"] for t in trials}),
        "engine_s": round(engine_s, 1),
        "measured_s": round(measured_s, 1),
        "share_measuring": round(measured_s / engine_s, 3),
    }


def _restarted(
    given: argparse.Namespace, study: Path, trials: list[dict[str, Any]]
) -> dict[str, Any]:
    """The first configs again, each on an engine of its own."""
    load = Load(workload=read_workload(study / "workloads" / "chat.jsonl"))
    longest = -(-load.workload.longest_tokens // 256) * 256
    launch = launch_on_cpu(given, study / "restarted", max_model_len=longest)
    again = []
    for number, trial in enumerate(trials):
        # Not kept by a `with runner`: every launch ends when it is left.
        with VllmRunner(launch).launch(trial["config"]) as engine:
            measured_s = engine.measure(load).duration_s
        again.append({"engine_s": engine.age_s, "measured_s": measured_s, "launch_id": number})
    return _share(again)


def main() -> None:
    parser = vllm_options(__doc__)
    parser.add_argument("--trials", type=int, default=20, metavar="N")
    parser.add_argument(
        "--restarts", type=int, default=5, metavar="N", help="configs launched anew"
    )
    parser.add_argument("--request-rate", type=float, default=10.0, metavar="R")
    parser.add_argument("--requests", type=int, default=300, metavar="N")
    parser.add_argument("--scale-tokens", type=float, default=0.1, metavar="F")
    given = parser.parse_args()
    publish(lambda: measure(given), given.out)


if __name__ == "__main__":
    main()
