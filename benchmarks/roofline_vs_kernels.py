"""How far the roofline is from measured kernels, as JSON: python -m benchmarks.roofline_vs_kernels

Needs no GPU, but aiconfigurator-core, so Linux on x86-64.
"""

import json
from contextlib import suppress
from functools import cache
from itertools import product
from statistics import mean, median, quantiles

from runners.simulated.catalogue import gpu, model
from runners.simulated.measured_kernels import MeasuredKernels
from runners.simulated.roofline import Roofline
from search_spaces.deployment import Deployment

MODELS = ("meta-llama/Llama-3.1-8B-Instruct", "meta-llama/Llama-3.1-70B-Instruct")
STATED = ("a100_sxm", "h100_sxm", "h200_sxm")
"""The GPUs of the roofline's own statement; no constant of it was read off an H200 kernel."""
OTHERS = ("b200_sxm", "l40s", "rtx_pro_6000_server")
MIXTURES = {
    "bf16": (
        ("Qwen/Qwen3-30B-A3B", "Qwen/Qwen3-235B-A22B", "mistralai/Mixtral-8x7B-Instruct-v0.1"),
        STATED,
    ),
    "nvfp4": (("nvidia/MiniMax-M2.5-NVFP4",), ("b200_sxm",)),
    "mxfp4": (("openai/gpt-oss-20b", "openai/gpt-oss-120b"), ("h100_sxm", "h200_sxm")),
}
"""By the type of their weights: (models, GPUs)."""
SIZES = (1, 2, 4, 8)
STEPS = {
    "prefill 512": (1, 512, 0, 0, 0),
    "prefill 2048": (1, 2048, 0, 0, 0),
    "prefill 8192": (1, 8192, 0, 0, 0),
    "prefill 512 after 3584": (1, 512, 3584, 0, 0),
    "decode 1 at 1k": (0, 0, 0, 1, 1024),
    "decode 16 at 1k": (0, 0, 0, 16, 16 * 1024),
    "decode 64 at 1k": (0, 0, 0, 64, 64 * 1024),
    "decode 256 at 1k": (0, 0, 0, 256, 256 * 1024),
    "decode 64 at 4k": (0, 0, 0, 64, 64 * 4096),
    "prefill 512 + decode 64 at 1k": (1, 512, 0, 64, 64 * 1024),
    "prefill 2048 + decode 64 at 1k": (1, 2048, 0, 64, 64 * 1024),
}


def fits(deployment: Deployment) -> bool:
    held = deployment.kv_capacity_tokens(
        tensor_parallel_size=deployment.gpus,
        gpu_memory_utilization=0.9,
        max_num_batched_tokens=8192,
        max_num_seqs=256,
    )
    return held > 0


def deviations(gpu_name: str, gpus: int, model_name: str) -> list[float]:
    """Roofline over measured, less one, per step; none where the weights do not fit.

    Raises:
        ValueError: there are no kernels of this model on this GPU, split so.
    """
    deployment = Deployment(
        model=model(model_name), gpu=gpu(gpu_name), gpus=gpus, max_model_len=8192
    )
    if not fits(deployment):
        return []
    roofline = Roofline(deployment, tensor_parallel_size=gpus)
    measured = MeasuredKernels(deployment, tensor_parallel_size=gpus)
    return [roofline.step_ms(*s) / measured.step_ms(*s) - 1 for s in STEPS.values()]


def summary(found: list[float]) -> dict[str, float]:
    absolute = [abs(deviation) for deviation in found]
    return {
        "steps": len(found),
        "median_percent": round(100 * median(absolute), 1),
        "p90_percent": round(100 * quantiles(absolute, n=10, method="inclusive")[-1], 1),
        "mean_signed_percent": round(100 * mean(found), 1),
    }


@cache
def of_gpu(name: str) -> list[float]:
    return [
        deviation
        for model_name in MODELS
        for gpus in SIZES
        for deviation in deviations(name, gpus, model_name)
    ]


@cache
def of_mixtures(weight_dtype: str) -> list[float]:
    """Of every size that their experts were measured at."""
    models, gpu_names = MIXTURES[weight_dtype]
    found: list[float] = []
    for gpu_name, model_name, gpus in product(gpu_names, models, SIZES):
        with suppress(ValueError):
            found += deviations(gpu_name, gpus, model_name)
    return found


def stated() -> dict[str, float]:
    """What the roofline says of itself."""
    return summary([deviation for name in STATED for deviation in of_gpu(name)])


def main() -> None:
    found = {
        "measured": MeasuredKernels.source,
        "stated": {"gpus": STATED, **stated()},
        "by_gpu": {name: summary(of_gpu(name)) for name in (*STATED, *OTHERS)},
        "mixtures": {
            weight_dtype: {"models": models, "gpus": gpus, **summary(of_mixtures(weight_dtype))}
            for weight_dtype, (models, gpus) in MIXTURES.items()
        },
    }
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
