from dataclasses import dataclass, replace

import pytest

from runners.simulated.catalogue import gpu, model
from runners.simulated.roofline import Roofline
from runners.simulated.utilisation import (
    bytes_read,
    communication_share,
    mbu,
    mfu,
    model_flops,
)
from search_spaces.deployment import Deployment


@dataclass(frozen=True, kw_only=True)
class Did:
    busy_s: float = 1.0
    steps: int = 1
    prompt_tokens: int = 0
    decode_tokens: int = 0
    prefill_kv_tokens: int = 0
    decode_kv_tokens: int = 0


NOTHING = Did(busy_s=0.0, steps=0)


def on(model_name: str, gpu_name: str = "h100") -> Deployment:
    return Deployment(model=model(model_name), gpu=gpu(gpu_name), gpus=8, max_model_len=8192)


LLAMA_8B = on("llama-3.1-8b")


def test_a_token_costs_two_flops_per_weight_and_four_per_head_dim_and_pair() -> None:
    pairs = 32 * 32 * 128 * 1001
    assert model_flops(LLAMA_8B, Did(decode_tokens=1, decode_kv_tokens=1000)) == (
        2 * 6_979_321_856 + 2 * 4096 * 128256 + 4 * pairs
    )
    assert model_flops(LLAMA_8B, Did(prompt_tokens=1000), prefill_pairs=500_500) == (
        2 * 6_979_321_856 * 1000 + 4 * 32 * 32 * 128 * 500_500
    )


def test_mfu_is_of_all_gpus_of_the_group_in_the_type_multiplied() -> None:
    second = Did(prompt_tokens=10_000)
    flops = 2 * 6_979_321_856 * 10_000
    assert mfu(LLAMA_8B, second, tensor_parallel_size=1) == pytest.approx(flops / 989e12)
    assert mfu(LLAMA_8B, second, tensor_parallel_size=4) == pytest.approx(flops / 989e12 / 4)
    fp8 = on("nvidia/Llama-3.1-8B-Instruct-FP8")
    assert mfu(fp8, second, tensor_parallel_size=1) == pytest.approx(flops / 1978e12)


def test_mbu_counts_weights_and_cache_once_per_step() -> None:
    step = Did(busy_s=0.01, decode_tokens=64, decode_kv_tokens=64_000)
    weights = 2 * 6_979_321_856 + 2 * 4096 * 128256
    read = weights + 64_000 * 131072
    assert bytes_read(LLAMA_8B, step, 1) == read
    assert mbu(LLAMA_8B, step, tensor_parallel_size=1) == pytest.approx(read / 3.35e10)
    assert bytes_read(LLAMA_8B, step, 8) == read / 8
    assert bytes_read(LLAMA_8B, replace(step, steps=2), 1) == read + weights


def test_an_fp8_cache_is_half_the_bytes() -> None:
    step = Did(decode_kv_tokens=1000)
    less = bytes_read(LLAMA_8B, step, 1) - bytes_read(LLAMA_8B, step, 1, "fp8")
    assert less == 1000 * 65536


def test_a_window_bounds_what_a_decode_reads_and_multiplies() -> None:
    gpt_oss = on("gpt-oss-20b")
    short = Did(decode_tokens=1, decode_kv_tokens=1000)
    long = Did(decode_tokens=1, decode_kv_tokens=3000)
    in_full_layers = 12 * 2 * 8 * 64 * 2 * 2000
    assert bytes_read(gpt_oss, long, 1) - bytes_read(gpt_oss, short, 1) == in_full_layers
    assert model_flops(gpt_oss, long) - model_flops(gpt_oss, short) == 4 * 12 * 64 * 64 * 2000


def test_of_experts_those_count_that_tokens_go_through_and_steps_reach() -> None:
    moe = on("qwen3-30b-a3b")
    per_token = model_flops(moe, Did(prompt_tokens=1)) / 2
    assert per_token == pytest.approx(2.73e9, rel=0.01)  # 3.3 billion with its embeddings
    one, many = (bytes_read(moe, Did(decode_tokens=n), 1) for n in (1, 4096))
    assert one == pytest.approx(2 * (2.73e9 + 0.31e9), rel=0.01)
    assert many == pytest.approx(moe.model.weight_bytes - moe.model.embedding_bytes, rel=1e-3)


def test_a_run_that_did_nothing_used_nothing() -> None:
    assert mfu(LLAMA_8B, NOTHING, tensor_parallel_size=1) == 0.0
    assert mbu(LLAMA_8B, NOTHING, tensor_parallel_size=1) == 0.0


def test_a_modelled_prefill_is_bound_by_compute_and_a_decode_by_bandwidth() -> None:
    steps = Roofline(LLAMA_8B, tensor_parallel_size=1)
    prefill = Did(busy_s=steps.step_ms(1, 8192, 0, 0, 0) / 1000, prompt_tokens=8192)
    decode = Did(
        busy_s=steps.step_ms(0, 0, 0, 1, 1024) / 1000, decode_tokens=1, decode_kv_tokens=1024
    )
    assert 0.5 < mfu(LLAMA_8B, prefill, tensor_parallel_size=1) < 0.8
    assert mbu(LLAMA_8B, prefill, tensor_parallel_size=1) < 0.05
    assert 0.6 < mbu(LLAMA_8B, decode, tensor_parallel_size=1) < 0.9
    assert mfu(LLAMA_8B, decode, tensor_parallel_size=1) < 0.01


def test_communication_takes_a_larger_share_with_every_gpu() -> None:
    shares = [
        communication_share(
            Roofline(on("llama-3.1-70b"), tensor_parallel_size=tp),
            prefill_requests=1,
            prefill_tokens=2048,
        )
        for tp in (1, 2, 4, 8)
    ]
    assert shares[0] == 0
    assert shares == sorted(shares)
    assert 0.05 < shares[3] < 0.5


def test_communication_by_tokens_is_what_the_table_says() -> None:
    steps = Roofline(LLAMA_8B, tensor_parallel_size=4)
    for tokens in (0, 1, 17, 512, 576, 8192, 16384):
        told = steps.steps.communication_ms[tokens]
        assert told == pytest.approx(steps.communication_ms(tokens))
