"""Combinations that vLLM 0.32 refuses, or starts with and then fails, most with its own words.

A launch takes most of a minute to fail with them. Settings that are absent are not judged.
"""

from search_spaces.deployment import Deployment, Model
from search_spaces.space import Config, Rule


def known_bad(deployment: Deployment) -> tuple[Rule, ...]:
    """Rules beyond those of ``vllm_rules``, for settings passed on to vLLM as they are."""
    on_cpu = _CPU if deployment.gpu.is_cpu else ()
    return (*_BATCHES, *_SPECULATION, *_context_parallel(deployment.model), *on_cpu)


def _number(config: Config, name: str, absent: int) -> float:
    """A setting as a number; what is none is left for vLLM to refuse."""
    try:
        return float(config.get(name, absent))
    except ValueError:
        return absent


def _at_most(config: Config, name: str, cap: str) -> bool:
    absent = name not in config or cap not in config
    return absent or _number(config, name, 0) <= _number(config, cap, 0)


def _speculates(config: Config, how: str) -> bool:
    return str(config.get("speculative_config", "none")).startswith(how)


_BATCHES = (
    # vllm/config/scheduler.py, verify_max_model_len
    Rule(
        "max_num_active_seqs <= max_num_seqs",
        "max_num_active_seqs cannot be greater than max_num_seqs",
        lambda c: _at_most(c, "max_num_active_seqs", "max_num_seqs"),
    ),
    # vllm/v1/core/sched/scheduler.py trusts it; the worker's buffers hold the other
    Rule(
        "max_num_scheduled_tokens <= max_num_batched_tokens",
        "the worker has room for max_num_batched_tokens in a step",
        lambda c: _at_most(c, "max_num_scheduled_tokens", "max_num_batched_tokens"),
    ),
)

_SPECULATION = (
    # vllm/config/vllm.py, _set_max_num_scheduled_tokens: a draft model takes one slot more
    Rule(
        "max_num_batched_tokens > 1 with a draft model",
        "there must be enough slots to schedule a token and support speculative decoding",
        lambda c: not _speculates(c, "draft:") or _number(c, "max_num_batched_tokens", 2) > 1,
    ),
    # vllm/config/vllm.py; left unset, async scheduling is disabled without a word of refusal
    Rule(
        "no async_scheduling with speculative_config = ngram",
        "async scheduling is only supported with EAGLE, MTP, draft models, n-gram on the GPU, "
        "DSpark and DFlash",
        lambda c: not (_speculates(c, "ngram") and c.get("async_scheduling") is True),
    ),
)


def _context_parallel(model: Model) -> tuple[Rule, ...]:
    return (
        # vllm/config/parallel.py
        Rule(
            "decode_context_parallel_size divides tensor_parallel_size",
            "tp_size must be divisible by dcp_size, for it reuses the same GPUs; with "
            "prefill_context_parallel_size > 1 it must be 1, that size, or TP times it",
            _shards_evenly,
        ),
        # vllm/config/model.py
        Rule(
            "decode_context_parallel_size fits the KV heads",
            "decode context parallelism for GQA/MQA requires tensor_parallel_size to be greater "
            f"than the model's number of KV heads ({model.num_key_value_heads}), at most that "
            "many times less, and to divide the query heads per KV head",
            lambda c: _fits_kv_heads(model, c),
        ),
    )


def _shards_evenly(config: Config) -> bool:
    tp = _number(config, "tensor_parallel_size", 1)
    pcp = _number(config, "prefill_context_parallel_size", 1)
    dcp = _number(config, "decode_context_parallel_size", 1)
    if dcp == 1:
        return True
    return tp % dcp == 0 if pcp == 1 else dcp in (pcp, tp * pcp)


def _fits_kv_heads(model: Model, config: Config) -> bool:
    tp = _number(config, "tensor_parallel_size", 1)
    dcp = _number(config, "decode_context_parallel_size", 1)
    heads = model.num_key_value_heads
    if dcp == 1:
        return True
    return dcp <= tp // heads and (model.num_attention_heads // heads) % dcp == 0


_CPU = (
    Rule(
        "block_size is a multiple of 32 on a CPU",
        "the CPU's attention has blocks of no other size: No common block size",
        lambda c: _number(c, "block_size", 32) % 32 == 0,
    ),
    Rule(
        "pipeline_parallel_size = 1 on a CPU",
        "it starts, but the first request ends it: assert self.intermediate_tensors",
        lambda c: _number(c, "pipeline_parallel_size", 1) == 1,
    ),
    Rule(
        "prefill_context_parallel_size = 1 on a CPU",
        "Model Runner V1 does not support prefill context parallel, and a CPU has no other",
        lambda c: _number(c, "prefill_context_parallel_size", 1) == 1,
    ),
    Rule(
        "no quantization = fp8 on a CPU",
        "the CPU build's static_scaled_fp8_quant has another signature than its caller",
        lambda c: c.get("quantization", "none") != "fp8",
    ),
    # vllm/v1/kv_offload/cpu/spec.py
    Rule(
        "no kv_offloading_size on a CPU",
        "CPU offloading is currently only supported on CUDA-alike and XPU devices",
        lambda c: "kv_offloading_size" not in c,
    ),
    # Found by runners/vllm/agreement.py: every answer changes from the 65th token on.
    Rule(
        "no kv_cache_dtype = int8_per_token_head on a CPU",
        "it starts, but answers wrongly once a request is over half a KV block",
        lambda c: c.get("kv_cache_dtype", "auto") != "int8_per_token_head",
    ),
)
