"""Batch 64 against batch 1 under static batching, beside what Databricks printed.

"LLM Inference Performance Engineering: Best Practices" (October 2023), Table 2: MPT-7B on
FasterTransformer, 512 prompt and 64 answer tokens; "batch 64: 14x the throughput at 4x the
latency". Its A100s have 40 GB, ours 80: compare the ratios.
"""

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from objectives import Load, Measurement
from objectives.arrivals import ClosedLoop, Fixed, Synthetic
from runners.simulated import SimulatedRunner
from runners.simulated.catalogue import gpu, model
from search_spaces import Config, Deployment
from search_spaces.vllm import vllm_space

FILE = "reference_points.csv"
PRINTED_MODEL = "MPT-7B (fp16)"
GPU = "a100_sxm"
MODELS = ("meta-llama/Llama-2-7b-hf", "mosaicml/mpt-7b")
"""The first has MPT-7B's size and heads and kernels that were measured; the second is itself."""
PROMPT_TOKENS, ANSWER_TOKENS = 512, 64
BATCHES = (1, 4, 8, 16, 32, 64)
ROUNDS = 4
THROUGHPUT_RATIO, LATENCY_RATIO = (12.0, 17.0), (3.5, 5.0)


def measure(folder: Path) -> Mapping[str, Any]:
    print(
        "Static batching, 512 in and 64 out on a100_sxm; requests/s (latency in s) by batch size"
    )
    printed = _printed(folder)
    told: dict[str, Any] = {}
    for name in MODELS:
        try:
            model(name)
        except ValueError as reason:
            print(f"  {name}: not simulated: {reason}")
            continue
        for gpus in (1, 2, 4):
            told[f"{name} on {gpus}"] = _on(name, gpus, printed)
    print()
    return told


def _on(name: str, gpus: int, printed: Mapping[tuple[int, int], float]) -> Mapping[str, Any]:
    runs = {batch: static(name, gpus, batch) for batch in BATCHES}
    rates = {batch: run.metrics["request_throughput"] or 0.0 for batch, run in runs.items()}
    latencies_s = {
        batch: (run.metrics["mean_e2el_ms"] or 0.0) / 1000 for batch, run in runs.items()
    }
    throughput, latency = rates[64] / rates[1], latencies_s[64] / latencies_s[1]
    print(f"  {name}, TP {gpus}")
    print("    twin:    " + "  ".join(f"{b}: {rates[b]:.1f} ({latencies_s[b]:.2f})" for b in runs))
    said = {b: printed[gpus, b] for b in BATCHES if (gpus, b) in printed}
    print(
        "    printed: "
        + "  ".join(f"{b}: {rate:.1f} ({b / rate:.2f})" for b, rate in said.items())
    )
    ratio = said[64] / said[1] if 1 in said and 64 in said else None
    for what, value, wanted, there in (
        ("throughput", throughput, THROUGHPUT_RATIO, ratio),
        ("latency", latency, LATENCY_RATIO, 64 / ratio if ratio else None),
    ):
        judged = ""
        if gpus == 1:
            word = "met" if wanted[0] <= value <= wanted[1] else "MISSED"
            judged = f"; wanted {wanted[0]:g} to {wanted[1]:g}: {word}"
        told = f", printed {there:.1f}" if there else ""
        print(f"    batch 64 over 1, {what}: {value:.1f} x{told}{judged}")
    return {
        "requests_per_s": rates,
        "latency_s": latencies_s,
        "printed_requests_per_s": said,
        "throughput_ratio": throughput,
        "latency_ratio": latency,
    }


def static(name: str, gpus: int, batch: int) -> Measurement:
    """Batches of one size, one after another, each prefilled in one step."""
    deployment = Deployment(
        model=model(name),
        gpu=gpu(GPU),
        gpus=gpus,
        max_model_len=PROMPT_TOKENS + ANSWER_TOKENS,
    )
    space = vllm_space(deployment)
    settings: Config = {
        "batch_policy": "static",
        "tensor_parallel_size": gpus,
        "max_num_seqs": batch,
        "max_num_batched_tokens": batch * PROMPT_TOKENS,
        "long_prefill_token_threshold": 0,
        "enable_prefix_caching": False,
    }
    for knob, value in settings.items():
        space = space.fix(knob, value)
    recipe = Synthetic(
        lengths=(Fixed(PROMPT_TOKENS), Fixed(ANSWER_TOKENS)), arrivals=ClosedLoop(batch)
    )
    load = Load(workload=recipe.workload("static", requests=ROUNDS * batch, seed=0))
    with SimulatedRunner(deployment).launch(space.default()) as engine:
        return engine.measure(load)


def _printed(folder: Path) -> Mapping[tuple[int, int], float]:
    """Requests per second by (GPUs, batch)."""
    path = folder / FILE
    if not path.is_file():
        raise ValueError(f"`--data` must be a folder with {FILE}, but {folder} has none.")
    with path.open(encoding="utf-8", newline="") as file:
        return dict(_rates(csv.DictReader(file)))


def _rates(lines: "csv.DictReader[str]") -> Iterator[tuple[tuple[int, int], float]]:
    for line in lines:
        wanted = line["model"] == PRINTED_MODEL and line["gpu"] == "A100"
        if wanted and line["metric"] == "peak_throughput":
            yield (int(line["tp"]), int(line["batch_or_concurrency"])), float(line["value"])
