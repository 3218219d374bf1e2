"""What SGLang, TensorRT-LLM and TGI are told, and what they are not."""

from typing import Any

import yaml
from hypothesis import given, settings

from objectives import Quadrant
from results.export import TARGETS, sglang, tensorrt_llm, tgi
from results.export.other_engine import IDLE
from results.export.serving import Memory, Serving
from tests.results.export.cases import CONFIGS, DEFAULT, GIB, serving, servings

TURNED = serving(CONFIGS[Quadrant.INTERACTIVE])
OTHERS = [target for target in TARGETS.values() if target.read is None]


def told(target: str, served: Serving) -> Any:
    (text,) = TARGETS[target].render(served).files.values()
    return yaml.safe_load(text)


def meanings(target: str, served: Serving) -> dict[str, Any]:
    """What the engine does by our names, for those that it is told."""
    if target == "tgi":
        return _of_tgi(served)
    found = told(target, served)
    if target == "sglang":
        return _of_sglang(found)
    return _of_tensorrt_llm(found)


def _of_sglang(found: dict[str, Any]) -> dict[str, Any]:
    chunked = found["chunked-prefill-size"] != -1
    low_first = found.get("schedule-low-priority-values-first", False)
    named = {
        **{name: found[key] for name, key in sglang.PLAIN.items()},
        "max_num_batched_tokens": found["max-prefill-tokens"],
        "enable_chunked_prefill": chunked,
        "enable_prefix_caching": not found.get("disable-radix-cache", False),
        "scheduling_policy": "priority" if low_first else "fcfs",
    }
    if "kv-cache-dtype" in found:
        named["kv_cache_dtype"] = "fp8"
    return named | {n: found[n] for n in ("quantization",) if n in found}


def _of_tensorrt_llm(found: dict[str, Any]) -> dict[str, Any]:
    named = {name: found[key] for name, key in tensorrt_llm.PLAIN.items()}
    named["enable_prefix_caching"] = found["kv_cache_config"]["enable_block_reuse"]
    if "dtype" in found["kv_cache_config"]:
        named["kv_cache_dtype"] = found["kv_cache_config"]["dtype"]
    if "speculative_config" in found:
        drafted = found["speculative_config"]
        named["speculative_config"] = {
            "method": drafted["decoding_type"].lower(),
            "num_speculative_tokens": drafted["max_draft_len"],
            "prompt_lookup_max": drafted["max_matching_ngram_size"],
        }
    return named


def _of_tgi(served: Serving) -> dict[str, Any]:
    found = tgi.read_variables(TARGETS["tgi"].render(served).files)
    named: dict[str, Any] = {
        "model": found["MODEL_ID"],
        "max_model_len": int(found["MAX_TOTAL_TOKENS"]),
        "max_num_seqs": int(found["MAX_BATCH_SIZE"]),
        "enable_chunked_prefill": found["PREFILL_CHUNKING"] == "1",
        "tensor_parallel_size": int(found["NUM_SHARD"]),
        "gpu_memory_utilization": float(found["CUDA_MEMORY_FRACTION"]),
        "enable_prefix_caching": found.get("PREFIX_CACHING") != "false",
    }
    tokens = int(found["MAX_BATCH_PREFILL_TOKENS"])
    raised = served.settings["max_num_batched_tokens"] < tokens
    if raised:
        splits = named["enable_chunked_prefill"] and "SPECULATE" not in found
        assert (splits, tokens) == (False, int(found["MAX_INPUT_TOKENS"]))
    else:
        named["max_num_batched_tokens"] = tokens
    if "SPECULATE" in found:
        named["speculative_config"] = {
            "method": "ngram",
            "num_speculative_tokens": int(found["SPECULATE"]),
            "prompt_lookup_max": 4,
        }
    if "QUANTIZE" in found:
        named["quantization"] = found["QUANTIZE"]
    if "KV_CACHE_DTYPE" in found:
        named["kv_cache_dtype"] = "fp8"
    return named


@settings(max_examples=50, deadline=None)
@given(served=servings)
def test_every_setting_is_told_with_its_meaning_reported_or_idle(served: Serving) -> None:
    wanted = {**served.settings, **served.ours}
    for target in OTHERS:
        means = meanings(target.name, served)
        dropped = {d.knob for d in target.render(served).dropped}
        assert {n: v for n, v in means.items() if wanted[n] != v} == {}
        converted = {"model", "gpu_memory_utilization"}
        rest = wanted.keys() - means.keys() - dropped - converted
        assert {n: wanted[n] for n in rest if n not in IDLE or wanted[n] != IDLE[n]} == {}


def test_memory_shares_are_converted_by_what_they_are_shares_of() -> None:
    # 80 GiB, 15 of weights, 3 of runtime, 52 of KV cache; vLLM's own share is 0.85 of it all.
    memory = Memory(total=80 * GIB, weights=15 * GIB, kv_cache=52 * GIB, runtime=3 * GIB)
    served = serving(DEFAULT, memory=memory)
    assert told("sglang", served)["mem-fraction-static"] == 0.83  # (15 + 52) / 80
    cache = told("tensorrt-llm", served)["kv_cache_config"]
    assert cache["free_gpu_memory_fraction"] == 0.83  # 52 / (80 - 15 - 3)
    heavy = serving(DEFAULT, memory=Memory(total=80, weights=60, kv_cache=9, runtime=3))
    assert told("sglang", heavy)["mem-fraction-static"] == 0.86  # (60 + 9) / 80
    cache = told("tensorrt-llm", heavy)["kv_cache_config"]
    assert cache["free_gpu_memory_fraction"] == 0.52  # 9 / (80 - 60 - 3)


def test_a_share_of_memory_that_cannot_be_converted_is_reported() -> None:
    for name in ("sglang", "tensorrt-llm"):
        dropped = TARGETS[name].render(serving(DEFAULT, memory=None)).dropped
        assert "gpu_memory_utilization" in [d.knob for d in dropped]


def test_sglang_keeps_the_polarity_of_vllms_priorities() -> None:
    found = told("sglang", TURNED)
    assert found["enable-priority-scheduling"] is True
    assert found["schedule-low-priority-values-first"] is True
    (text,) = TARGETS["sglang"].render(TURNED).files.values()
    inverted = text.replace("schedule-low-priority-values-first: true\n", "")
    assert TARGETS["sglang"].complaints({"x.yaml": inverted}) == [
        "priorities would count the other way round"
    ]


def test_sglang_is_told_nothing_that_is_false() -> None:
    # Its file takes switches that are on alone.
    assert False not in told("sglang", serving(DEFAULT)).values()


def test_tensorrt_llms_file_says_all_since_it_may_override_the_command_line_or_not() -> None:
    rendered = TARGETS["tensorrt-llm"].render(serving(DEFAULT))
    assert any("none of its settings on the command line" in note for note in rendered.notes)
    assert told("tensorrt-llm", serving(DEFAULT))["tensor_parallel_size"] == 1


def test_tensorrt_llms_waiting_timeout_is_left_alone_since_it_holds_up_running_requests() -> None:
    waits = serving({**DEFAULT, "batch_wait_timeout_ms": 20})
    assert "batch_wait_timeout_ms" not in told("tensorrt-llm", waits)
    dropped = {d.knob: d for d in TARGETS["tensorrt-llm"].render(waits).dropped}
    assert dropped["batch_wait_timeout_ms"].value == 20
    assert "would hold up running requests" in dropped["batch_wait_timeout_ms"].keep


def test_tgi_is_given_room_for_the_longest_prompt_where_it_does_not_split_prompts() -> None:
    small = {**DEFAULT, "max_num_batched_tokens": 2048}
    target = TARGETS["tgi"]
    found = tgi.read_variables(target.render(serving(small)).files)
    assert (found["MAX_BATCH_PREFILL_TOKENS"], found["PREFILL_CHUNKING"]) == ("2048", "1")
    drafting = serving({**small, "speculative_config": "ngram"})
    found = tgi.read_variables(target.render(drafting).files)
    assert found["MAX_BATCH_PREFILL_TOKENS"] == found["MAX_INPUT_TOKENS"] == "8191"
    assert "max_num_batched_tokens" in [d.knob for d in target.render(drafting).dropped]


def test_tgis_own_limit_of_requests_is_told_where_it_would_bind() -> None:
    notes = TARGETS["tgi"].render(serving({**DEFAULT, "max_num_seqs": 256})).notes
    assert any("MAX_CONCURRENT_REQUESTS" in note and "above 256" in note for note in notes)
    notes = TARGETS["tgi"].render(serving({**DEFAULT, "max_num_seqs": 64})).notes
    assert not any("MAX_CONCURRENT_REQUESTS" in note for note in notes)
