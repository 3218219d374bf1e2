"""Which tensor-parallel sizes hold a model and its longest request, and what if none does."""

from search_spaces.deployment import Deployment, Gpu

BUDGET_STEP_TOKENS = 256
"""Chunks off the GEMM tile grid cost: 257 tokens took 32 % longer than 256 (Sarathi-Serve)."""
ENGINE_MEMORY_SHARE = 0.92
CPU_MEMORY_SHARE = 0.2
"""vLLM's own 0.92 would take nearly all of a machine that others run on too."""
LARGEST_DEFAULTS = (16384, 1024)
"""Token budget and batch that leave the least KV cache among the engine's defaults."""
MOST_GPUS = 64
"""Those of one host; engines over several hosts are not what this program tunes."""


def fitting_sizes(deployment: Deployment) -> tuple[int, ...]:
    """Tensor-parallel sizes that divide GPUs and model and hold the weights and one request.

    Raises:
        ValueError: there is none; says how many GPUs would do.
    """
    sizes = tuple(tp for tp in _divisors(deployment.gpus) if splits(deployment, tp))
    fitting = tuple(tp for tp in sizes if _fits(deployment, tp))
    if fitting:
        return fitting
    raise ValueError(_does_not_fit(deployment))


def memory_share(gpu: Gpu) -> float:
    """``gpu_memory_utilization`` where nobody says otherwise."""
    return CPU_MEMORY_SHARE if gpu.is_cpu else ENGINE_MEMORY_SHARE


def _does_not_fit(deployment: Deployment) -> str:
    """What is too large, and what would mend it: more GPUs, or shorter requests."""
    model, gpu = deployment.model, deployment.gpu
    advice = [f"--gpus {needed}"] if (needed := _gpus_needed(deployment)) else []
    if longest := _longest_tokens(deployment):
        advice.append(f"--set max_model_len={longest} (longer requests are left out)")
    none = f"no number of these GPUs up to {MOST_GPUS}"
    mended = f"{' or '.join(advice)} would do" if advice else f"{none} would do: {_instead(gpu)}"
    return (
        f"{model.name} ({model.weight_bytes / 1e9:.0f} GB of weights) and one request of "
        f"{deployment.max_model_len} tokens do not fit on {deployment.gpus} x {gpu.name} "
        f"({gpu.memory_gib:.0f} GiB each); {mended}."
    )


def _instead(gpu: Gpu) -> str:
    return "name a smaller --model" if gpu.is_cpu else "name larger GPUs or a smaller --model"


def _gpus_needed(deployment: Deployment) -> int | None:
    """The fewest that one replica fits on, those that are there not counted."""
    sizes = (tp for tp in range(1, MOST_GPUS + 1) if splits(deployment, tp))
    return next((tp for tp in sizes if _fits(deployment, tp)), None)


def _longest_tokens(deployment: Deployment) -> int:
    """Of a request that the GPUs there are hold under any defaults; 0: of none worth a step."""
    sizes = [tp for tp in _divisors(deployment.gpus) if splits(deployment, tp)]
    held = max(_kv_tokens(deployment, tp, *LARGEST_DEFAULTS) for tp in sizes)
    return max(0, held // BUDGET_STEP_TOKENS * BUDGET_STEP_TOKENS)


def _divisors(number: int) -> list[int]:
    return [tp for tp in range(1, number + 1) if number % tp == 0]


def splits(deployment: Deployment, tp: int) -> bool:
    """Whether every GPU gets the same number of heads and an equal part of each MLP.

    KV heads may be replicated. vLLM refuses what it cannot divide evenly (``ensure_divisibility``
    in ``vllm/distributed/utils.py``).
    """
    model = deployment.model
    kv_heads = model.num_key_value_heads
    width = model.moe_intermediate_size if model.num_experts else model.intermediate_size
    return (
        model.num_attention_heads % tp == 0
        and (kv_heads % tp == 0 or tp % kv_heads == 0)
        and width % tp == 0
    )


def _fits(deployment: Deployment, tp: int) -> bool:
    """Whether the leanest config holds one longest request."""
    return _kv_tokens(deployment, tp, BUDGET_STEP_TOKENS, 1) >= deployment.max_model_len


def _kv_tokens(deployment: Deployment, tp: int, budget_tokens: int, seqs: int) -> int:
    return deployment.kv_capacity_tokens(
        tensor_parallel_size=tp,
        gpu_memory_utilization=memory_share(deployment.gpu),
        max_num_batched_tokens=budget_tokens,
        max_num_seqs=seqs,
    )
