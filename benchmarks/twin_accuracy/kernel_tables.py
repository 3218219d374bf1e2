"""How far the tables that the loop reads are from the kernels asked one by one."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from benchmarks.twin_accuracy.agreement import errors
from runners.simulated.catalogue import gpu, model
from runners.simulated.compiled.state import Floats
from runners.simulated.kernel_table import tabled
from runners.simulated.measured_kernels import MeasuredKernels
from runners.simulated.step_table import LARGEST, never_falling
from search_spaces import Deployment

DEPLOYMENTS = (
    ("meta-llama/Llama-3.1-8B-Instruct", "a100_sxm", 1),
    ("nvidia/Llama-3.3-70B-Instruct-FP8", "h100_sxm", 4),
    ("nvidia/Llama-3.3-70B-Instruct-FP8", "b200_sxm", 1),
)
STEPS = 2000

Step = tuple[int, int, int, int, int]


def measure() -> Mapping[str, Any]:
    print("Tables beside the kernels they were made from, per cent of a step's time")
    told: dict[str, Any] = {}
    for name, on, gpus in DEPLOYMENTS:
        deployment = Deployment(model=model(name), gpu=gpu(on), gpus=gpus, max_model_len=8192)
        try:
            kernels = MeasuredKernels(deployment, tensor_parallel_size=gpus)
        except ValueError as reason:
            print(f"  {reason}")
            continue
        table = tabled(kernels)
        pairs = {
            kind: [(table.step_ms(*step), kernels.step_ms(*step)) for step in steps]
            for kind, steps in drawn().items()
        }
        for kind, of_kind in (pairs | every_number(kernels, table.steps.tokens_ms)).items():
            found = errors(of_kind)
            assert found is not None
            told[f"{name} on {gpus} x {on}, {kind}"] = asdict(found)
            print(
                f"  {name} on {gpus} x {on}, {kind}: {found.mape:.1f} (bias {found.bias:+.1f},"
                f" p90 {found.p90:.1f}, worst {found.worst:+.1f}; {found.rows} steps)",
                flush=True,
            )
    print()
    return told


def every_number(
    kernels: MeasuredKernels, table_ms: Floats
) -> dict[str, list[tuple[float, float]]]:
    """Of tokens, attention apart: beside the kernels, and beside what a table may tell of them."""
    asked_ms = np.array([kernels.non_attention_ms(tokens) for tokens in range(1, LARGEST + 1)])
    nearest_ms = never_falling(asked_ms, np.ones(LARGEST))
    told_ms = table_ms[1:].tolist()
    return {
        "every number of tokens": list(zip(told_ms, asked_ms.tolist(), strict=True)),
        "the same beside the rising sequence nearest to them": list(
            zip(told_ms, nearest_ms.tolist(), strict=True)
        ),
    }


def drawn() -> dict[str, list[Step]]:
    """Steps as a vLLM with a budget of 8192 tokens makes them; the same every time."""
    rng = random.Random(0)
    return {
        "decode only": [_step(rng, prompts=False, decodes=True) for _ in range(STEPS)],
        "prompts only": [_step(rng, prompts=True, decodes=False) for _ in range(STEPS)],
        "mixed": [_step(rng, prompts=True, decodes=True) for _ in range(STEPS)],
    }


def _step(rng: random.Random, *, prompts: bool, decodes: bool) -> Step:
    chunks = list(_chunks(rng)) if prompts else []
    earlier = rng.choice((0, 0, 2048, 4096)) if chunks else 0
    running = round(2 ** rng.uniform(0, 8)) if decodes else 0
    context = round(2 ** rng.uniform(5, 13))
    return len(chunks), sum(chunks), earlier * len(chunks), running, running * context


def _chunks(rng: random.Random) -> Iterator[int]:
    left = 8192
    for _ in range(rng.randint(1, 4)):
        tokens = min(left, round(2 ** rng.uniform(4, 12)))
        left -= tokens
        yield tokens
