"""A config file for ``sglang serve --config``, SGLang 0.5.23.

SGLang serves HIGHER priorities first unless told otherwise: it is told, so that the numbers that
requests carry mean what they mean to vLLM.
"""

import math
from typing import Any

from results.export import closed
from results.export.kubernetes import folder_notes
from results.export.other_engine import left_out
from results.export.parsers.sglang import arguments as own_arguments
from results.export.serving import Serving
from results.export.target import Files, Parser, Rendered, Target
from results.export.yaml_text import dump, load

VERSION = "0.5.23"
PLAIN = {
    "model": "model-path",
    "max_model_len": "context-length",
    "max_num_seqs": "max-running-requests",
    "tensor_parallel_size": "tp-size",
    "data_parallel_size": "dp-size",
    "stream_interval": "stream-interval",
}
"""Of the same meaning under another name."""
CLOSED = {
    "model-path": str,
    "context-length": int,
    "max-running-requests": int,
    "tp-size": int,
    "dp-size": int,
    "stream-interval": int,
    "chunked-prefill-size": int,
    "max-prefill-tokens": int,
    "enable-mixed-chunk?": True,
    "disable-radix-cache?": True,
    "schedule-policy": "fcfs",
    "enable-priority-scheduling?": True,
    "schedule-low-priority-values-first?": True,
    "mem-fraction-static?": float,
    "kv-cache-dtype?": ("fp8_e4m3",),
    "quantization?": ("fp8",),
}
LARGEST_PAGE = 128
"""Of the page sizes that SGLang's attention backends ask for."""
DELAYER = (
    "SGLang's nearest is enable-prefill-delayer with prefill-delayer-max-delay-ms and "
    "-queue-min-ratio, which waits by another rule: measure it there"
)
KEEP = {
    "long_prefill_token_threshold": "lower chunked-prefill-size; it has no limit per prompt",
    "speculative_config": "tune speculative-algorithm there; its parameters mean other things",
    "gpu_memory_utilization": "nothing is known of the memory; SGLang chooses its own share",
    "batch_wait_timeout_ms": DELAYER,
    "batch_wait_min_requests": DELAYER,
    "batch_policy": "leave out enable-mixed-chunk for SGLang's own prefill-first scheduling",
}


def render(serving: Serving) -> Rendered:
    document, carried = _arguments(serving)
    return Rendered(
        files={f"{serving.quadrant}.yaml": dump(document)},
        dropped=left_out(serving, carried, KEEP),
        notes=(
            "Start with: sglang serve --config THIS_FILE",
            "chunked-prefill-size bounds prompt tokens alone; vLLM's budget counts decodes, too.",
            *_page_notes(document["chunked-prefill-size"]),
            *folder_notes(serving),
        ),
    )


def _page_notes(chunk: int) -> tuple[str, ...]:
    if chunk < 0 or chunk % LARGEST_PAGE == 0:
        return ()
    return (
        f"chunked-prefill-size {chunk} must be a multiple of the page size, which is 1 or, with "
        f"some attention backends, up to {LARGEST_PAGE}.",
    )


def _arguments(serving: Serving) -> tuple[dict[str, Any], set[str]]:
    """Flags, and the names of ours that they carry; a flag that is off is left out."""
    settings = serving.settings
    tokens = settings["max_num_batched_tokens"]
    chunked = settings["enable_chunked_prefill"]
    document: dict[str, Any] = {key: settings[name] for name, key in PLAIN.items()}
    document |= {
        "chunked-prefill-size": tokens if chunked else -1,
        "max-prefill-tokens": tokens,
        "schedule-policy": "fcfs",
    }
    if chunked:
        document["enable-mixed-chunk"] = True  # prompts and decodes in one step, as in vLLM
    if not settings["enable_prefix_caching"]:
        document["disable-radix-cache"] = True
    if settings["scheduling_policy"] == "priority":
        document |= {
            "enable-priority-scheduling": True,
            "schedule-low-priority-values-first": True,
        }
    carried = {
        *PLAIN,
        *("max_num_batched_tokens", "enable_chunked_prefill", "enable_prefix_caching"),
        "scheduling_policy",
    }
    if serving.memory is not None:
        document["mem-fraction-static"] = static_fraction(serving)
        carried.add("gpu_memory_utilization")
    if settings.get("kv_cache_dtype") == "fp8":
        document["kv-cache-dtype"] = "fp8_e4m3"  # what vLLM's fp8 is
        carried.add("kv_cache_dtype")
    if settings.get("quantization") == "fp8":
        document["quantization"] = "fp8"
        carried.add("quantization")
    return document, carried


def static_fraction(serving: Serving) -> float:
    """Weights and KV cache as a share of all memory, activations and runtime left out.

    Rounded down to hundredths.
    """
    memory = serving.memory
    assert memory is not None
    share = (memory.weights + memory.kv_cache) / memory.total
    return math.floor(100 * max(0.01, min(share, 0.95))) / 100


def complaints(files: Files) -> list[str]:
    (text,) = files.values()
    found = load(text)
    wrong = closed.complaints(found, CLOSED)
    first = found.get("schedule-low-priority-values-first")
    if found.get("enable-priority-scheduling") and not first:
        wrong.append("priorities would count the other way round")
    return wrong


TARGET = Target(
    name="sglang",
    about="a config file for `sglang serve --config`",
    source="sglang 0.5.23: srt/arg_groups/fields and srt/utils/server_args_config_parser.py",
    engine="SGLang",
    version=VERSION,
    render=render,
    complaints=complaints,
    parsers=(Parser("SGLang's own arguments", own_arguments),),
)
