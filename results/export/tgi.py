"""Environment variables of text-generation-inference 3.3.7, which is in maintenance mode."""

import re
from collections.abc import Mapping
from typing import Any

from results.export.other_engine import left_out, several
from results.export.serving import Serving
from results.export.target import CannotExpress, Files, Rendered, Target
from results.export.words import PLAIN

VERSION = "3.3.7"
NUMBER = re.compile("[1-9][0-9]*")
CONCURRENT = 128
"""What ``MAX_CONCURRENT_REQUESTS`` is by default."""
CLOSED = {
    "MODEL_ID": PLAIN,
    "MAX_TOTAL_TOKENS": NUMBER,
    "MAX_INPUT_TOKENS": NUMBER,
    "MAX_BATCH_PREFILL_TOKENS": NUMBER,
    "NUM_SHARD": NUMBER,
    "CUDA_MEMORY_FRACTION": re.compile(r"0\.[0-9]+"),
    "MAX_BATCH_SIZE": NUMBER,
    "PREFILL_CHUNKING": re.compile("0|1"),
    "PREFIX_CACHING": re.compile("false"),
    "KV_CACHE_DTYPE": re.compile("fp8_e4m3fn"),
    "QUANTIZE": re.compile("fp8"),
    "SPECULATE": NUMBER,
}
REQUIRED = (
    *("MODEL_ID", "MAX_TOTAL_TOKENS", "MAX_INPUT_TOKENS", "MAX_BATCH_PREFILL_TOKENS"),
    *("MAX_BATCH_SIZE", "NUM_SHARD"),
)


def render(serving: Serving) -> Rendered:
    variables, carried = _variables(serving)
    return Rendered(
        files={f"{serving.quadrant}.env": "".join(f"{n}={v}\n" for n, v in variables.items())},
        dropped=left_out(serving, carried, _keep(serving)),
        notes=(
            "LEGACY: text-generation-inference is in maintenance mode and recommends vLLM or "
            "SGLang.",
            "Start with: docker run --env-file THIS_FILE ...",
            *_refused(serving),
        ),
    )


def _variables(serving: Serving) -> tuple[dict[str, str], set[str]]:
    settings = serving.settings
    if not PLAIN.fullmatch(serving.model):
        raise CannotExpress("model", f"{serving.model!r} would not survive an environment file")
    longest, tokens = int(settings["max_model_len"]), int(settings["max_num_batched_tokens"])
    most = tokens if _splits_prompts(settings) else max(tokens, longest - 1)
    values: dict[str, Any] = {
        "MODEL_ID": serving.model,
        "MAX_TOTAL_TOKENS": longest,
        "MAX_INPUT_TOKENS": longest - 1,  # at least one is answered
        "MAX_BATCH_PREFILL_TOKENS": most,
        "MAX_BATCH_SIZE": settings["max_num_seqs"],
        "PREFILL_CHUNKING": int(settings["enable_chunked_prefill"]),
        "NUM_SHARD": settings["tensor_parallel_size"],
        # Of all memory and for all uses, as in vLLM.
        "CUDA_MEMORY_FRACTION": settings["gpu_memory_utilization"],
    }
    carried = {
        *("model", "max_model_len", "max_num_seqs", "tensor_parallel_size"),
        *("gpu_memory_utilization", "enable_prefix_caching", "enable_chunked_prefill"),
    }
    if most == tokens:
        carried.add("max_num_batched_tokens")
    if not settings["enable_prefix_caching"]:
        values["PREFIX_CACHING"] = "false"  # on by itself, but for models that cannot
    if settings.get("kv_cache_dtype") == "fp8":
        values["KV_CACHE_DTYPE"] = "fp8_e4m3fn"
        carried.add("kv_cache_dtype")
    if settings.get("quantization") == "fp8":
        values["QUANTIZE"] = "fp8"
        carried.add("quantization")
    speculation = settings.get("speculative_config", {})
    if speculation.get("method") == "ngram":
        values["SPECULATE"] = speculation["num_speculative_tokens"]
        carried.add("speculative_config")
    return {name: str(value) for name, value in values.items()}, carried


def _splits_prompts(settings: Mapping[str, Any]) -> bool:
    """Where it does not, its router refuses a budget below the longest prompt."""
    return bool(settings["enable_chunked_prefill"]) and "speculative_config" not in settings


def _refused(serving: Serving) -> tuple[str, ...]:
    seqs = serving.settings["max_num_seqs"]
    if seqs < CONCURRENT:
        return ()
    return (
        f"MAX_CONCURRENT_REQUESTS, {CONCURRENT} by default, rejects requests where vLLM lets them "
        f"wait: set it well above {seqs}.",
    )


def _keep(serving: Serving) -> dict[str, str]:
    wait = "nearest are MAX_WAITING_TOKENS and WAITING_SERVED_RATIO, in tokens, not milliseconds"
    return {
        "max_num_batched_tokens": "MAX_BATCH_PREFILL_TOKENS must hold the longest prompt where "
        "prompts are not split, and with speculation they are not",
        "data_parallel_size": several(serving, "servers"),
        "long_prefill_token_threshold": "lower MAX_BATCH_PREFILL_TOKENS",
        "scheduling_policy": "order requests in front of it; it has no priorities",
        "stream_interval": "nothing to keep: it streams every token",
        "batch_wait_timeout_ms": wait,
        "batch_wait_min_requests": wait,
        "batch_policy": "serve with our scheduler class on vLLM, as the study did",
    }


def read_variables(files: Files) -> dict[str, str]:
    """By name; comments left out."""
    (text,) = files.values()
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def complaints(files: Files) -> list[str]:
    found = read_variables(files)
    wrong = [f"`{name}` is no variable of it" for name in found if name not in CLOSED]
    wrong += [f"`{name}` is missing" for name in REQUIRED if name not in found]
    return wrong + [
        f"`{name}` must be like {CLOSED[name].pattern}, but is {value!r}"
        for name, value in found.items()
        if name in CLOSED and not CLOSED[name].fullmatch(value)
    ]


TARGET = Target(
    name="tgi",
    about="environment variables of text-generation-inference (legacy)",
    source="text-generation-inference 3: launcher/src/main.rs, backends/v3/src/main.rs",
    engine="text-generation-inference",
    version=VERSION,
    render=render,
    complaints=complaints,
)
