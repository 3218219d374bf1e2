"""A config file for ``trtllm-serve --config``, TensorRT-LLM 1.2.

There the file overrides the command line, the reverse of vLLM's precedence; later versions turn it
round. Its ``batch_wait_timeout_ms`` is never written: the executor waits in every step, with
requests decoding, until that many new ones have come.
"""

import math
from typing import Any

from results.export import closed
from results.export.kubernetes import folder_notes
from results.export.other_engine import left_out, several
from results.export.serving import Serving
from results.export.target import Files, Rendered, Target
from results.export.yaml_text import dump, load

VERSION = "1.2.1"
PLAIN = {
    "max_num_seqs": "max_batch_size",
    "max_num_batched_tokens": "max_num_tokens",
    "max_model_len": "max_seq_len",
    "tensor_parallel_size": "tensor_parallel_size",
    "enable_chunked_prefill": "enable_chunked_prefill",
    "stream_interval": "stream_interval",
}
"""Of the same meaning under another name."""
CLOSED = {
    "max_batch_size": int,
    "max_num_tokens": int,
    "max_seq_len": int,
    "tensor_parallel_size": int,
    "enable_chunked_prefill": bool,
    "stream_interval": int,
    "kv_cache_config": {
        "enable_block_reuse": bool,
        "dtype?": ("fp8", "auto"),
        "free_gpu_memory_fraction?": float,
    },
    "speculative_config?": {
        "decoding_type": "NGram",
        "max_draft_len": int,
        "max_matching_ngram_size": int,
    },
}


def render(serving: Serving) -> Rendered:
    document, carried = arguments(serving)
    return Rendered(
        files={f"{serving.quadrant}.yaml": dump(document)},
        dropped=left_out(serving, carried, keeping(serving)),
        notes=(
            f"Start with: trtllm-serve {serving.model} --config THIS_FILE, and none of its "
            "settings on the command line: 1.2 lets the file win, later versions do not.",
            *memory_notes(document),
            *folder_notes(serving),
        ),
    )


def arguments(serving: Serving) -> tuple[dict[str, Any], set[str]]:
    """``LLM``'s arguments, and the names of ours that they carry."""
    settings = serving.settings
    document: dict[str, Any] = {key: settings[name] for name, key in PLAIN.items()}
    carried = {*PLAIN, "model", "enable_prefix_caching"}
    cache: dict[str, Any] = {"enable_block_reuse": settings["enable_prefix_caching"]}
    if settings.get("kv_cache_dtype") == "fp8":
        cache["dtype"] = "fp8"
        carried.add("kv_cache_dtype")
    if serving.memory is not None:
        cache["free_gpu_memory_fraction"] = free_memory_fraction(serving)
        carried.add("gpu_memory_utilization")
    document["kv_cache_config"] = cache
    speculation = settings.get("speculative_config", {})
    if speculation.get("method") == "ngram":
        document["speculative_config"] = {
            "decoding_type": "NGram",
            "max_draft_len": speculation["num_speculative_tokens"],
            "max_matching_ngram_size": speculation["prompt_lookup_max"],
        }
        carried.add("speculative_config")
    return document, carried


def free_memory_fraction(serving: Serving) -> float:
    """The KV cache as a share of what is free once weights and runtime are loaded.

    TensorRT-LLM takes it of what a trial step leaves free, too, a few per cent less.

    Rounded down to hundredths: what vLLM's share of all memory left for it, not that share.
    """
    memory = serving.memory
    assert memory is not None
    share = memory.kv_cache / (memory.total - memory.weights - memory.runtime)
    return math.floor(100 * max(0.01, min(share, 0.95))) / 100


def keeping(serving: Serving) -> dict[str, str]:
    """How what is left out can be kept."""
    waits = (
        "its batch_wait_timeout_ms would hold up running requests, too; nearest are "
        "batch_wait_timeout_iters with batch_wait_max_tokens_ratio: measure them there"
    )
    return {
        "data_parallel_size": several(serving, "trtllm-serve"),
        "long_prefill_token_threshold": "lower max_num_tokens, or share each step among "
        "prompts: scheduler_config.context_chunking_policy EQUAL_PROGRESS",
        "speculative_config": "set its speculative_config by hand",
        "quantization": "serve a checkpoint quantised to fp8 beforehand",
        "scheduling_policy": "order requests in front of it; 1.2 has no priorities, and "
        "those of later versions count the other way round (HIGHER first)",
        "gpu_memory_utilization": "nothing is known of the memory; its default is 0.9 of the free",
        "batch_wait_timeout_ms": waits,
        "batch_wait_min_requests": waits,
        "batch_policy": waits,
    }


def memory_notes(document: dict[str, Any]) -> tuple[str, ...]:
    if "free_gpu_memory_fraction" not in document["kv_cache_config"]:
        return ()
    return (
        "free_gpu_memory_fraction is of what weights and a trial step leave free, for about as "
        "much KV cache as vLLM was estimated to have.",
    )


def complaints(files: Files) -> list[str]:
    (text,) = files.values()
    return closed.complaints(load(text), CLOSED)


TARGET = Target(
    name="tensorrt-llm",
    about="a config file for `trtllm-serve --config`",
    source="TorchLlmArgs of TensorRT-LLM 1.2.1 (tensorrt_llm/llmapi/llm_args.py)",
    engine="TensorRT-LLM",
    version=VERSION,
    render=render,
    complaints=complaints,
)
