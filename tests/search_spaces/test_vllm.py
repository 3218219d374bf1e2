from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces import Choice, Config, Deployment, Gpu, Int, Model, Value
from search_spaces.vllm import (
    batch_defaults,
    default_config,
    kv_tokens,
    preset_settings,
    vllm_space,
)

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
A100 = replace(H100, name="a100_sxm", bf16_tflops=312.0, fp8_tflops=None)
DEPLOYMENT = Deployment(model=MODEL, gpu=H100, gpus=4, max_model_len=8192)
SPACE = vllm_space(DEPLOYMENT)
DEFAULT: dict[str, Value] = {
    "max_num_seqs": 1024,
    "max_num_batched_tokens": 8192,
    "long_prefill_token_threshold": 0,
    "batch_wait_timeout_ms": 0,
    "batch_wait_min_requests": 0,
    "batch_policy": "continuous",
    "tensor_parallel_size": 1,
    "gpu_memory_utilization": 0.92,
    "enable_chunked_prefill": True,
    "enable_prefix_caching": True,
    "scheduling_policy": "fcfs",
    "speculative_config": "none",
    "kv_cache_dtype": "auto",
    "quantization": "none",
    "data_parallel_size": 4,
}


def broken(deployment: Deployment, **settings: Value) -> list[tuple[str, str]]:
    """(rule, reason) of every rule that the default config with these settings breaks."""
    space = vllm_space(deployment)
    return [(r.reads, r.reason) for r in space.broken_rules({**space.default(), **settings})]


def test_the_default_config_is_the_engines_own() -> None:
    assert default_config(SPACE) == DEFAULT
    assert broken(DEPLOYMENT) == []


def test_six_knobs_are_searched_and_the_others_keep_their_default() -> None:
    assert {name: str(domain) for name, domain in SPACE.searched.items()} == {
        "max_num_seqs": "1 to 1024 (log)",
        "max_num_batched_tokens": "256 to 16384 in steps of 256",
        "long_prefill_token_threshold": "0, 256, 512, 1024, 2048, 4096",
        "batch_wait_timeout_ms": "0, 5, 20, 50, 200, 1000, 5000",
        "tensor_parallel_size": "1, 2, 4",
        "gpu_memory_utilization": "0.8 to 0.95 in steps of 0.01",
    }
    assert SPACE.fixed == {
        knob.name: knob.default for knob in SPACE.knobs if knob.name not in SPACE.searched
    }


def test_every_knob_says_what_it_is_and_what_it_costs_to_turn() -> None:
    live = {knob.name for knob in SPACE.knobs if knob.turn == "live"}
    ours = {knob.name for knob in SPACE.knobs if knob.owner == "ours"}
    lossy = {knob.name for knob in SPACE.knobs if knob.lossy}
    assert ours == {"batch_wait_timeout_ms", "batch_wait_min_requests", "batch_policy"}
    assert live == ours | {
        "max_num_seqs",
        "max_num_batched_tokens",
        "long_prefill_token_threshold",
    }
    assert lossy == {"kv_cache_dtype", "quantization"}
    assert [knob.name for knob in SPACE.knobs if len(knob.about) < 20] == []


def test_every_default_lies_within_its_knobs_limits() -> None:
    assert [k.name for k in SPACE.knobs if k.check(k.default) != k.default] == []


@pytest.mark.parametrize(
    ("gpu", "memory_gib", "defaults"),
    [
        ("h100_sxm", 80.0, (1024, 8192)),
        ("h200_sxm", 141.0, (1024, 8192)),
        ("b200_sxm", 180.0, (1024, 16384)),
        ("a100_sxm", 80.0, (256, 2048)),
        ("l4", 22.5, (256, 2048)),
    ],
)
def test_the_batch_defaults_are_those_of_the_gpu(
    gpu: str, memory_gib: float, defaults: tuple[int, int]
) -> None:
    assert batch_defaults(replace(H100, name=gpu, memory_gib=memory_gib)) == defaults


@pytest.mark.parametrize(("size", "replicas"), [(1, 4), (2, 2), (4, 1)])
def test_all_gpus_are_used_by_as_many_replicas_as_they_make(size: int, replicas: int) -> None:
    config = SPACE.fix("tensor_parallel_size", size).default()
    assert config["data_parallel_size"] == replicas


def test_thresholds_no_prompt_can_reach_are_not_searched() -> None:
    short = vllm_space(replace(DEPLOYMENT, max_model_len=1024))
    assert short.searched["long_prefill_token_threshold"] == Choice((0, 256, 512))


def test_the_engine_lowers_the_batch_to_the_token_budget() -> None:
    config = default_config(SPACE.fix("max_num_batched_tokens", 256))
    assert (config["max_num_seqs"], config["max_num_batched_tokens"]) == (256, 256)


def test_without_chunked_prefill_the_engine_raises_the_budget_to_a_whole_prompt() -> None:
    space = vllm_space(replace(DEPLOYMENT, gpu=A100, max_model_len=4096))
    whole = default_config(space.fix("enable_chunked_prefill", False))
    assert (whole["max_num_seqs"], whole["max_num_batched_tokens"]) == (256, 4096)
    assert space.broken_rules(whole) == []


def test_a_budget_that_no_prompt_fits_into_stays_as_asked() -> None:
    whole = SPACE.fix("enable_chunked_prefill", False)
    fixed = whole.fix("max_num_batched_tokens", 2048)
    narrow = whole.free("max_num_batched_tokens", Int(low=256, high=2048, step=256))
    budgets = [default_config(space)["max_num_batched_tokens"] for space in (fixed, narrow)]
    assert budgets == [2048, 2048]


def test_the_presets_are_one_for_latency_and_one_for_throughput() -> None:
    assert preset_settings(DEPLOYMENT) == (
        {"tensor_parallel_size": 4, "max_num_batched_tokens": 2048},
        {
            "tensor_parallel_size": 1,
            "max_num_seqs": 1024,
            "max_num_batched_tokens": 16384,
        },
    )
    assert preset_settings(replace(DEPLOYMENT, gpu=A100, gpus=1)) == (
        {"tensor_parallel_size": 1, "max_num_batched_tokens": 2048},
        {"tensor_parallel_size": 1, "max_num_seqs": 512, "max_num_batched_tokens": 4096},
    )


@pytest.mark.parametrize(
    ("settings", "rule", "reason"),
    [
        (
            {"max_num_seqs": 512, "max_num_batched_tokens": 256},
            "max_num_batched_tokens >= max_num_seqs",
            "a step must be able to give every running request a token",
        ),
        (
            {"enable_chunked_prefill": False, "max_num_batched_tokens": 8191},
            "max_num_batched_tokens >= max_model_len without chunked prefill",
            "a whole prompt must fit into one step",
        ),
        (
            {"long_prefill_token_threshold": 8193},
            "long_prefill_token_threshold <= max_model_len",
            "vLLM refuses a threshold no prompt can reach",
        ),
        (
            {"tensor_parallel_size": 3},
            "tensor_parallel_size divides the GPUs and the attention heads",
            "every GPU gets the same number of heads, and all GPUs are used",
        ),
        (
            {"gpu_memory_utilization": 0.2},
            "weights and one longest request fit",
            "the KV cache must hold one request of max_model_len = 8192 tokens",
        ),
    ],
)
def test_each_rule_is_broken_alone_and_says_why(
    settings: dict[str, Value], rule: str, reason: str
) -> None:
    given_seqs = {"max_num_seqs": 64, **settings}
    assert broken(DEPLOYMENT, **given_seqs) == [(rule, reason)]


@pytest.mark.parametrize(
    "settings",
    [
        {"max_num_seqs": 256, "max_num_batched_tokens": 256},
        {"enable_chunked_prefill": False, "max_num_batched_tokens": 8192},
        {"long_prefill_token_threshold": 8192},
        {"tensor_parallel_size": 4},
        {"kv_cache_dtype": "fp8", "quantization": "fp8"},
    ],
)
def test_at_its_limit_a_rule_still_holds(settings: dict[str, Value]) -> None:
    assert broken(DEPLOYMENT, **settings) == []


@pytest.mark.parametrize("knob", ["kv_cache_dtype", "quantization"])
def test_fp8_needs_a_gpu_that_computes_in_it(knob: str) -> None:
    rule = "fp8 needs a GPU with fp8 arithmetic"
    assert broken(replace(DEPLOYMENT, gpu=A100), **{knob: "fp8"}) == [(rule, "a100_sxm has none")]


def test_heads_must_divide_evenly() -> None:
    odd = replace(DEPLOYMENT, model=replace(MODEL, num_attention_heads=36, num_key_value_heads=6))
    space = vllm_space(replace(odd, gpus=8))
    assert space.searched["tensor_parallel_size"] == Choice((1, 2))


def test_fp8_leaves_more_room_for_kv_cache() -> None:
    plain = kv_tokens(DEPLOYMENT, DEFAULT)
    assert kv_tokens(DEPLOYMENT, {**DEFAULT, "kv_cache_dtype": "fp8"}) == pytest.approx(
        2 * plain, abs=16
    )
    assert kv_tokens(DEPLOYMENT, {**DEFAULT, "quantization": "fp8"}) > plain


def test_fp8_weights_count_where_the_rule_asks_what_fits() -> None:
    tight: Config = {**DEFAULT, "gpu_memory_utilization": 0.23}
    assert broken(DEPLOYMENT, **tight) != []
    assert broken(DEPLOYMENT, **{**tight, "quantization": "fp8"}) == []


@given(
    st.sampled_from([1, 2, 4, 8]),
    st.sampled_from([1024, 8192, 32768]),
    st.sampled_from([H100, A100]),
)
def test_the_default_config_keeps_every_rule(gpus: int, longest: int, gpu: Gpu) -> None:
    space = vllm_space(Deployment(model=MODEL, gpu=gpu, gpus=gpus, max_model_len=longest))
    assert space.broken_rules(default_config(space)) == []
