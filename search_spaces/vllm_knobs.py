"""vLLM 0.32's knobs, named as ``vllm serve`` names them.

Knobs of ours exist only with our scheduler class: vLLM has no batch waiting timeout.
"""

from search_spaces.deployment import Deployment, Gpu
from search_spaces.fitting import BUDGET_STEP_TOKENS, fitting_sizes, memory_share
from search_spaces.space import Choice, Float, Int, Knob

CPU_BUDGET_STEP_TOKENS = 32
"""A CPU has no GEMM tiles of 256 rows to fill."""
WAITS_MS = (0, 5, 20, 50, 200, 1000, 5000)
CHUNKS_TOKENS = (0, 256, 512, 1024, 2048, 4096)


def batch_defaults(gpu: Gpu) -> tuple[int, int]:
    """(max_num_seqs, max_num_batched_tokens) that ``vllm serve`` 0.32 takes on this GPU."""
    if gpu.is_cpu:
        return 128, 2048
    if gpu.memory_gib >= 150:
        return 1024, 16384
    if gpu.memory_gib >= 70 and "a100" not in gpu.name:
        return 1024, 8192
    return 256, 2048


def vllm_knobs(deployment: Deployment) -> tuple[Knob, ...]:
    """Every knob, at its default and over its usual range on this deployment."""
    return (*_batching(deployment), *_waiting(), *_placement(deployment), *_features())


def _batching(deployment: Deployment) -> tuple[Knob, ...]:
    seqs, tokens = batch_defaults(deployment.gpu)
    thresholds = tuple(t for t in CHUNKS_TOKENS if t < deployment.max_model_len)
    cpu = deployment.gpu.is_cpu
    step, most = (CPU_BUDGET_STEP_TOKENS, 4096) if cpu else (BUDGET_STEP_TOKENS, 16384)
    return (
        Knob(
            name="max_num_seqs",
            default=seqs,
            domain=Int(low=1, high=256 if cpu else 1024, log=True),
            about="most requests in one batch",
            turn="live",
            limits=Int(low=1, high=4096),
        ),
        Knob(
            name="max_num_batched_tokens",
            default=tokens,
            domain=Int(low=step, high=most, step=step),
            about="most tokens computed in one step; prompts are cut into chunks to fit",
            turn="live",
            limits=Int(low=1, high=131072),
        ),
        Knob(
            name="long_prefill_token_threshold",
            default=0,
            domain=Choice(thresholds),
            about="most tokens of one prompt a step, so that short ones get past; 0: no limit",
            turn="live",
            limits=Int(low=0, high=131072),
        ),
    )


def _waiting() -> tuple[Knob, ...]:
    return (
        Knob(
            name="batch_wait_timeout_ms",
            default=0,
            domain=Choice(WAITS_MS),
            about="longest wait for a batch to fill before waiting requests are admitted",
            turn="live",
            owner="ours",
            limits=Int(low=0, high=5000),
        ),
        Knob(
            name="batch_wait_min_requests",
            default=0,
            domain=Choice((0, 2, 4, 8, 16, 32, 64)),
            about="waiting requests that end the wait early; 0: as many as there are free slots",
            turn="live",
            owner="ours",
            limits=Int(low=0, high=4096),
        ),
        Knob(
            name="batch_policy",
            default="continuous",
            domain=Choice(("continuous", "prefill_first", "decode_first", "static")),
            about="who joins a running batch, and whose tokens come first",
            turn="live",
            owner="ours",
        ),
    )


def _placement(deployment: Deployment) -> tuple[Knob, ...]:
    sizes = fitting_sizes(deployment)
    return (
        Knob(
            name="tensor_parallel_size",
            default=sizes[0],
            domain=Choice(sizes),
            about="GPUs that share one replica; the rest of --gpus make more replicas",
        ),
        Knob(
            name="gpu_memory_utilization",
            default=memory_share(deployment.gpu),
            domain=Float(low=0.1, high=0.5, step=0.01)
            if deployment.gpu.is_cpu
            else Float(low=0.80, high=0.95, step=0.01),
            about="share of GPU memory for weights, activations and KV cache together",
            limits=Float(low=0.05, high=0.99, step=0.01),
        ),
    )


def _features() -> tuple[Knob, ...]:
    return (
        Knob(
            name="enable_chunked_prefill",
            default=True,
            domain=Choice((True, False)),
            about="whether a prompt may be computed over several steps",
        ),
        Knob(
            name="enable_prefix_caching",
            default=True,
            domain=Choice((True, False)),
            about="whether prompts that start alike share their KV cache",
        ),
        Knob(
            name="scheduling_policy",
            default="fcfs",
            domain=Choice(("fcfs", "priority")),
            about="first come first served, or by each request's priority (lower first)",
        ),
        Knob(
            name="speculative_config",
            default="none",
            domain=Choice(("none", "ngram")),
            about="draft tokens proposed and verified together; draft:DIR names a draft model",
            limits=Choice(("none", "ngram"), prefix="draft:"),
        ),
        Knob(
            name="kv_cache_dtype",
            default="auto",
            domain=Choice(("auto", "fp8")),
            about="how KV is stored; fp8 halves it and may change answers",
            lossy=True,
        ),
        Knob(
            name="quantization",
            default="none",
            domain=Choice(("none", "fp8")),
            about="weights quantised at load; may change answers",
            lossy=True,
        ),
    )
