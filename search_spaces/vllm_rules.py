"""What vLLM would refuse or could not start, caught before a launch is paid for."""

from dataclasses import replace

from search_spaces.deployment import Deployment
from search_spaces.fitting import BUDGET_STEP_TOKENS, MOST_GPUS, splits
from search_spaces.space import Config, Rule

WHOLE_PROMPTS = "max_num_batched_tokens >= max_model_len without chunked prefill"


def kv_dtype(config: Config) -> str:
    """The KV cache's type as the twin and the memory estimate know it."""
    return "fp8" if config["kv_cache_dtype"] == "fp8" else "bf16"


def quantised(deployment: Deployment, config: Config) -> Deployment:
    """The deployment with its weights as the config stores them."""
    if config["quantization"] == "none":
        return deployment
    model = replace(deployment.model, weight_dtype=str(config["quantization"]))
    return replace(deployment, model=model)


def kv_tokens(deployment: Deployment, config: Config) -> int:
    """Tokens of KV cache that each replica of a config holds."""
    return quantised(deployment, config).kv_capacity_tokens(
        tensor_parallel_size=int(config["tensor_parallel_size"]),
        gpu_memory_utilization=float(config["gpu_memory_utilization"]),
        max_num_batched_tokens=int(config["max_num_batched_tokens"]),
        max_num_seqs=int(config["max_num_seqs"]),
        kv_dtype=kv_dtype(config),
    )


def vllm_rules(deployment: Deployment) -> tuple[Rule, ...]:
    """Each rule with its reason."""
    longest = deployment.max_model_len
    return (
        Rule(
            "max_num_batched_tokens >= max_num_seqs",
            "a step must be able to give every running request a token",
            lambda c: int(c["max_num_batched_tokens"]) >= int(c["max_num_seqs"]),
        ),
        Rule(
            WHOLE_PROMPTS,
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
                and splits(deployment, int(c["tensor_parallel_size"]))
            ),
        ),
        Rule(
            "weights and one longest request fit",
            f"the KV cache must hold one request of max_model_len = {longest} tokens",
            lambda c: kv_tokens(deployment, c) >= longest,
            lambda c: _room_for(deployment, c),
        ),
        Rule(
            "fp8 needs a GPU with fp8 arithmetic",
            f"{deployment.gpu.name} has {'none' if deployment.gpu.fp8_tflops is None else 'it'}",
            lambda c: (
                deployment.gpu.fp8_tflops is not None
                or (c["kv_cache_dtype"] != "fp8" and c["quantization"] != "fp8")
            ),
        ),
    )


def _room_for(deployment: Deployment, config: Config) -> str:
    """How one longest request would fit after all: a shorter one, leaner steps, more GPUs."""
    longest = deployment.max_model_len
    shorter = kv_tokens(deployment, config) // BUDGET_STEP_TOKENS * BUDGET_STEP_TOKENS
    ways = [f"--set max_model_len={shorter}"] if shorter > 0 else []
    lean = {"max_num_batched_tokens": BUDGET_STEP_TOKENS, "max_num_seqs": BUDGET_STEP_TOKENS}
    if kv_tokens(deployment, {**config, **lean}) >= longest:
        ways.append(" ".join(f"--set {name}={tokens}" for name, tokens in lean.items()))
    for tp in range(1, MOST_GPUS + 1):
        sharded = {**config, "tensor_parallel_size": tp}
        if splits(deployment, tp) and kv_tokens(deployment, sharded) >= longest:
            ways.append(f"--gpus {tp} --set tensor_parallel_size={tp}")
            break
    return f"{' or '.join(ways)} would do" if ways else "change a --set"
