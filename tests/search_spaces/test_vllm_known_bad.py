from dataclasses import replace

import pytest

from search_spaces import Config, Deployment, Gpu, Model
from search_spaces.deployment import cpu
from search_spaces.vllm_known_bad import known_bad

MODEL = Model(
    name="llama-8b",
    num_hidden_layers=32,
    hidden_size=4096,
    num_attention_heads=32,
    num_key_value_heads=8,
    head_dim=128,
    intermediate_size=14336,
    vocab_size=128256,
    max_position_embeddings=131072,
)
H100 = Gpu(
    name="h100_sxm",
    memory_gib=80.0,
    memory_bandwidth_tb_s=3.35,
    bf16_tflops=989.0,
    fp8_tflops=1979.0,
    link_gb_s=450.0,
    nvlink=True,
)
ON_GPU = Deployment(model=MODEL, gpu=H100, gpus=16, max_model_len=8192)
ON_CPU = replace(ON_GPU, gpu=cpu(16.0), gpus=1)


def broken(deployment: Deployment, config: Config) -> list[str]:
    return [rule.reads for rule in known_bad(deployment) if not rule.holds(config)]


@pytest.mark.parametrize("deployment", [ON_GPU, ON_CPU], ids=["gpu", "cpu"])
def test_what_is_not_set_is_not_judged(deployment: Deployment) -> None:
    assert broken(deployment, {}) == []


@pytest.mark.parametrize(
    ("name", "good", "bad", "reads"),
    [
        ("block_size", 64, 16, "block_size is a multiple of 32 on a CPU"),
        ("pipeline_parallel_size", 1, 2, "pipeline_parallel_size = 1 on a CPU"),
        ("prefill_context_parallel_size", 1, 2, "prefill_context_parallel_size = 1 on a CPU"),
        ("quantization", "none", "fp8", "no quantization = fp8 on a CPU"),
        (
            "kv_cache_dtype",
            "fp8",
            "int8_per_token_head",
            "no kv_cache_dtype = int8_per_token_head on a CPU",
        ),
    ],
)
def test_a_setting_may_be_bad_on_a_cpu_alone(
    name: str, good: str | int, bad: str | int, reads: str
) -> None:
    assert broken(ON_CPU, {name: good}) == []
    assert broken(ON_CPU, {name: bad}) == [reads]
    assert broken(ON_GPU, {name: bad}) == []


def test_a_cpu_offloads_its_kv_cache_nowhere() -> None:
    assert broken(ON_CPU, {"kv_offloading_size": 4}) == ["no kv_offloading_size on a CPU"]
    assert broken(ON_GPU, {"kv_offloading_size": 4}) == []


@pytest.mark.parametrize(
    ("name", "cap"),
    [
        ("max_num_active_seqs", "max_num_seqs"),
        ("max_num_scheduled_tokens", "max_num_batched_tokens"),
    ],
)
def test_a_cap_is_not_exceeded(name: str, cap: str) -> None:
    assert broken(ON_GPU, {name: 64, cap: 64}) == []
    assert broken(ON_GPU, {name: 64}) == []
    assert broken(ON_GPU, {name: 65, cap: 64}) == [f"{name} <= {cap}"]


def test_a_draft_model_takes_a_slot_of_a_step() -> None:
    drafting: Config = {"speculative_config": "draft:/models/small"}
    assert broken(ON_GPU, {**drafting, "max_num_batched_tokens": 2}) == []
    assert broken(ON_GPU, {**drafting, "max_num_batched_tokens": 1}) == [
        "max_num_batched_tokens > 1 with a draft model"
    ]


@pytest.mark.parametrize(
    ("how", "asynchronous", "refused"),
    [
        ("ngram", True, True),
        ("ngram", False, False),
        ("none", True, False),
        ("draft:small", True, False),
    ],
)
def test_ngram_speculation_refuses_async_scheduling(
    how: str, asynchronous: bool, refused: bool
) -> None:
    config: Config = {"speculative_config": how, "async_scheduling": asynchronous}
    rule = "no async_scheduling with speculative_config = ngram"
    assert broken(ON_GPU, config) == [rule] * refused


DIVIDES = "decode_context_parallel_size divides tensor_parallel_size"
FITS = "decode_context_parallel_size fits the KV heads"


@pytest.mark.parametrize(
    ("tp", "pcp", "dcp", "reads"),
    [
        (16, 1, 2, []),
        (32, 1, 4, []),
        (8, 1, 2, [FITS]),
        (16, 1, 3, [DIVIDES, FITS]),
        (16, 1, 4, [FITS]),
        (16, 2, 2, []),
        (16, 4, 2, [DIVIDES]),
    ],
)
def test_decode_context_parallelism_takes_gpus_that_kv_heads_leave_over(
    tp: int, pcp: int, dcp: int, reads: list[str]
) -> None:
    config: Config = {
        "tensor_parallel_size": tp,
        "prefill_context_parallel_size": pcp,
        "decode_context_parallel_size": dcp,
    }
    assert broken(ON_GPU, config) == reads


def test_what_is_no_number_is_left_for_vllm_to_refuse() -> None:
    assert broken(ON_CPU, {"block_size": "auto"}) == []
