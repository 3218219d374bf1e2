"""vLLM 0.32's knobs, named as ``vllm serve`` names them, and the rules it would enforce.

Knobs of ours exist only with our scheduler class: vLLM has no batch waiting timeout.
"""

from search_spaces.deployment import Deployment, Gpu
from search_spaces.space import Choice, Config, Float, Int, Knob, Rule, SearchSpace

WAITS_MS = (0, 5, 20, 50, 200, 1000, 5000)
CHUNKS_TOKENS = (0, 256, 512, 1024, 2048, 4096)
BUDGET_STEP_TOKENS = 256
"""Chunks off the GEMM tile grid cost: 257 tokens took 32 % longer than 256 (Sarathi-Serve)."""
SEARCHED = (
    "max_num_seqs",
    "max_num_batched_tokens",
    "tensor_parallel_size",
    "batch_wait_timeout_ms",
    "long_prefill_token_threshold",
    "gpu_memory_utilization",
)


def vllm_space(deployment: Deployment) -> SearchSpace:
    """Every knob, those of ``SEARCHED`` free.

    Raises:
        ValueError: the model does not fit on the GPUs at any tensor-parallel size.
    """
    knobs = _knobs(deployment)
    rules = _rules(deployment)
    return SearchSpace(
        engine="vllm",
        knobs=knobs,
        searched={knob.name: knob.domain for knob in knobs if knob.name in SEARCHED},
        fixed={knob.name: knob.default for knob in knobs if knob.name not in SEARCHED},
        derive=lambda config: {
            "data_parallel_size": deployment.gpus // int(config["tensor_parallel_size"])
        },
        rules=rules,
    )


def batch_defaults(gpu: Gpu) -> tuple[int, int]:
    """(max_num_seqs, max_num_batched_tokens) that ``vllm serve`` 0.32 takes on this GPU."""
    if gpu.memory_gib >= 150:
        return 1024, 16384
    if gpu.memory_gib >= 70 and "a100" not in gpu.name:
        return 1024, 8192
    return 256, 2048


def _knobs(deployment: Deployment) -> tuple[Knob, ...]:
    return (*_batching(deployment), *_waiting(), *_placement(deployment), *_features())


def _batching(deployment: Deployment) -> tuple[Knob, ...]:
    seqs, tokens = batch_defaults(deployment.gpu)
    thresholds = tuple(t for t in CHUNKS_TOKENS if t < deployment.max_model_len)
    return (
        Knob(
            name="max_num_seqs",
            default=seqs,
            domain=Int(low=1, high=1024, log=True),
            about="most requests in one batch",
            turn="live",
            limits=Int(low=1, high=4096),
        ),
        Knob(
            name="max_num_batched_tokens",
            default=tokens,
            domain=Int(low=BUDGET_STEP_TOKENS, high=16384, step=BUDGET_STEP_TOKENS),
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
            default=0.92,
            domain=Float(low=0.80, high=0.95, step=0.01),
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
            about="draft tokens proposed and verified together",
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


def fitting_sizes(deployment: Deployment) -> tuple[int, ...]:
    """Tensor-parallel sizes that divide GPUs and heads and hold the weights and one request.

    Raises:
        ValueError: there is none; says how many GPUs would do.
    """
    sizes = tuple(tp for tp in _divisors(deployment.gpus) if _splits(deployment, tp))
    fitting = tuple(tp for tp in sizes if _fits(deployment, tp))
    if fitting:
        return fitting
    model, gpu = deployment.model, deployment.gpu
    enough = [tp for tp in (1, 2, 4, 8, 16, 32, 64) if _splits(deployment, tp)]
    needed = next((tp for tp in enough if _fits(deployment, tp)), None)
    advice = f"--gpus {needed} would do" if needed else "no number of these GPUs would do"
    raise ValueError(
        f"{model.name} ({model.weight_bytes / 1e9:.0f} GB of weights) and one request of "
        f"{deployment.max_model_len} tokens do not fit on {deployment.gpus} x {gpu.name} "
        f"({gpu.memory_gib:.0f} GiB each); {advice}."
    )


def _divisors(number: int) -> list[int]:
    return [tp for tp in range(1, number + 1) if number % tp == 0]


def _splits(deployment: Deployment, tp: int) -> bool:
    model = deployment.model
    kv_heads = model.num_key_value_heads
    return model.num_attention_heads % tp == 0 and (kv_heads % tp == 0 or tp % kv_heads == 0)


def _fits(deployment: Deployment, tp: int) -> bool:
    capacity = deployment.kv_capacity_tokens(
        tensor_parallel_size=tp,
        gpu_memory_utilization=0.92,
        max_num_batched_tokens=BUDGET_STEP_TOKENS,
        max_num_seqs=1,
    )
    return capacity >= deployment.max_model_len


def kv_dtype(config: Config) -> str:
    """The KV cache's type as the twin and the memory estimate know it."""
    return "fp8" if config["kv_cache_dtype"] == "fp8" else "bf16"


def _rules(deployment: Deployment) -> tuple[Rule, ...]:
    longest = deployment.max_model_len

    def kv_tokens(config: Config) -> int:
        return deployment.kv_capacity_tokens(
            tensor_parallel_size=int(config["tensor_parallel_size"]),
            gpu_memory_utilization=float(config["gpu_memory_utilization"]),
            max_num_batched_tokens=int(config["max_num_batched_tokens"]),
            max_num_seqs=int(config["max_num_seqs"]),
            kv_dtype=kv_dtype(config),
        )

    return (
        Rule(
            "max_num_batched_tokens >= max_num_seqs",
            "a step must be able to give every running request a token",
            lambda c: int(c["max_num_batched_tokens"]) >= int(c["max_num_seqs"]),
        ),
        Rule(
            "max_num_batched_tokens >= max_model_len without chunked prefill",
            "a whole prompt must fit into one step",
            lambda c: (
                bool(c["enable_chunked_prefill"]) or int(c["max_num_batched_tokens"]) >= longest
            ),
        ),
        Rule(
            "long_prefill_token_threshold <= max_model_len",
            "vLLM refuses a threshold no prompt can reach",
            lambda c: int(c["long_prefill_token_threshold"]) <= longest,
        ),
        Rule(
            "tensor_parallel_size divides the GPUs and the attention heads",
            "every GPU gets the same number of heads, and all GPUs are used",
            lambda c: (
                deployment.gpus % int(c["tensor_parallel_size"]) == 0
                and _splits(deployment, int(c["tensor_parallel_size"]))
            ),
        ),
        Rule(
            "weights and one longest request fit",
            f"the KV cache must hold one request of max_model_len = {longest} tokens",
            lambda c: kv_tokens(c) >= longest,
        ),
        Rule(
            "fp8 needs a GPU with fp8 arithmetic",
            f"{deployment.gpu.name} has none",
            lambda c: (
                deployment.gpu.fp8_tflops is not None
                or (c["kv_cache_dtype"] != "fp8" and c["quantization"] != "fp8")
            ),
        ),
    )


def default_config(space: SearchSpace) -> Config:
    """What ``vllm serve`` runs when told nothing but the fixed settings.

    Its default of ``max_num_seqs`` is lowered to the token budget, as vLLM does.
    """
    config = space.default()
    tokens = config["max_num_batched_tokens"]
    if int(config["max_num_seqs"]) <= int(tokens):
        return config
    return space.within({"max_num_seqs": tokens})


def preset_settings(deployment: Deployment) -> tuple[dict[str, int], ...]:
    """Two settings worth trying before any search: one for latency, one for throughput."""
    sizes = fitting_sizes(deployment)
    return (
        {"tensor_parallel_size": sizes[-1], "max_num_batched_tokens": 2048},
        # What `--performance-mode throughput` does: the defaults doubled.
        {
            "tensor_parallel_size": sizes[0],
            "max_num_seqs": min(1024, 2 * batch_defaults(deployment.gpu)[0]),
            "max_num_batched_tokens": min(16384, 2 * batch_defaults(deployment.gpu)[1]),
        },
    )
