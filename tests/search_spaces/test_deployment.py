from dataclasses import replace
from typing import Any

import pytest

from search_spaces import Deployment, Gpu, Model
from search_spaces.fitting import fitting_sizes

LLAMA_8B = Model(
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
LLAMA_70B = replace(
    LLAMA_8B,
    name="llama-70b",
    num_hidden_layers=80,
    hidden_size=8192,
    num_attention_heads=64,
    intermediate_size=28672,
)
PHI_4 = replace(
    LLAMA_8B,
    name="phi-4",
    num_hidden_layers=40,
    hidden_size=5120,
    num_attention_heads=40,
    num_key_value_heads=10,
    intermediate_size=17920,
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
L4 = replace(H100, name="l4", memory_gib=22.5, nvlink=False)


def on(model: Model, gpu: Gpu, gpus: int, max_model_len: int = 4096) -> Deployment:
    return Deployment(model=model, gpu=gpu, gpus=gpus, max_model_len=max_model_len)


def test_weights_are_counted_in_their_own_type_and_embeddings_in_bf16() -> None:
    embeddings = 2 * 128256 * 4096 * 2
    assert LLAMA_8B.block_parameters == 6_979_321_856
    assert LLAMA_8B.weight_bytes == 2 * 6_979_321_856 + embeddings
    assert replace(LLAMA_8B, weight_dtype="fp8").weight_bytes == 6_979_321_856 + embeddings
    assert replace(LLAMA_8B, tie_word_embeddings=True).weight_bytes == (
        2 * 6_979_321_856 + embeddings / 2
    )


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("num_hidden_layers", 0, "llama-8b: `num_hidden_layers >= 1` must hold."),
        ("vocab_size", -1, "llama-8b: `vocab_size >= 1` must hold."),
        ("weight_dtype", "fp7", "llama-8b: weights of 'fp7' are not known."),
        ("attention_dtype", "fp7", "llama-8b: weights of 'fp7' are not known."),
        (
            "num_experts",
            8,
            "llama-8b: `1 <= num_experts_per_tok <= num_experts` must hold, but got 0 of 8.",
        ),
        (
            "sliding_window",
            128,
            "llama-8b: `sliding_window` and `sliding_window_layers` go together.",
        ),
        (
            "sliding_window_layers",
            33,
            "llama-8b: `0 <= sliding_window_layers <= num_hidden_layers` must hold.",
        ),
    ],
)
def test_an_impossible_model_is_refused(field: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        replace(LLAMA_8B, **{field: value})


def test_kv_heads_are_split_and_then_replicated() -> None:
    deployment = on(LLAMA_8B, H100, 16)
    per_token = [deployment.kv_bytes_per_token(tp) for tp in (1, 2, 8, 16)]
    assert per_token == [131072.0, 65536.0, 16384.0, 16384.0]
    assert deployment.kv_bytes_per_token(1, "fp8") == 65536.0


def capacity(deployment: Deployment, **settings: float) -> int:
    usual = {
        "tensor_parallel_size": 1,
        "gpu_memory_utilization": 0.9,
        "max_num_batched_tokens": 2048,
        "max_num_seqs": 256,
    }
    return deployment.kv_capacity_tokens(**{**usual, **settings})  # type: ignore[arg-type]


def test_the_kv_cache_gets_what_weights_and_activations_leave() -> None:
    deployment = on(LLAMA_8B, H100, 1)
    roughly = (0.9 * 80 * 1024**3 - LLAMA_8B.weight_bytes - 3e9) / 131072
    assert 0.98 * roughly < capacity(deployment) < roughly


def test_more_of_anything_else_leaves_less_kv_cache() -> None:
    deployment = on(LLAMA_8B, H100, 2)
    usual = capacity(deployment)
    assert capacity(deployment, max_num_batched_tokens=8192) < usual
    assert capacity(deployment, max_num_seqs=1024) < usual
    assert capacity(deployment, gpu_memory_utilization=0.8) < usual
    assert capacity(deployment, tensor_parallel_size=2) > usual


MIXTURE = replace(
    LLAMA_8B, name="mixture", num_experts=8, num_experts_per_tok=2, moe_intermediate_size=14336
)
WINDOWED = replace(LLAMA_8B, name="windowed", sliding_window=128, sliding_window_layers=16)


def test_experts_are_counted_all_in_memory_and_some_per_token() -> None:
    attention, expert, router = 41_943_040, 3 * 4096 * 14336, 4096 * 8
    assert MIXTURE.block_parameters == 32 * (attention + 8 * expert + router)
    assert MIXTURE.active_parameters == 32 * (attention + 2 * expert + router)
    assert LLAMA_8B.active_parameters == LLAMA_8B.block_parameters
    shared = replace(MIXTURE, shared_expert_intermediate_size=4096)
    assert shared.block_parameters - MIXTURE.block_parameters == 32 * 3 * 4096 * 4096
    assert shared.active_parameters - MIXTURE.active_parameters == 32 * 3 * 4096 * 4096


def test_four_bit_floats_take_their_scales_with_them() -> None:
    embeddings = 2 * 128256 * 4096 * 2
    nvfp4, mxfp4 = (replace(LLAMA_8B, weight_dtype=it) for it in ("nvfp4", "mxfp4"))
    assert nvfp4.weight_bytes == 6_979_321_856 * 4.5 / 8 + embeddings
    assert mxfp4.weight_bytes == 6_979_321_856 * 4.25 / 8 + embeddings


def test_attention_may_be_left_out_of_a_quantisation() -> None:
    fp8 = replace(LLAMA_8B, weight_dtype="fp8")
    mixed = replace(fp8, attention_dtype="bf16")
    assert mixed.weight_bytes - fp8.weight_bytes == LLAMA_8B.attention_parameters


def test_tokens_reach_their_own_experts_first_and_all_in_the_end() -> None:
    assert MIXTURE.experts_touched(1) == pytest.approx(2)
    assert MIXTURE.experts_touched(2) == pytest.approx(2 + 2 * 6 / 8)
    assert MIXTURE.experts_touched(1000) == pytest.approx(8)
    assert LLAMA_8B.experts_touched(10) == 0


def test_a_full_batch_of_windows_leaves_the_rest_to_the_other_layers() -> None:
    windowed = capacity(on(WINDOWED, H100, 1), max_num_seqs=64)
    full = capacity(on(LLAMA_8B, H100, 1), max_num_seqs=64)
    assert windowed == pytest.approx(2 * (full - (64 * 128 + 2048) / 2), abs=48)


def test_windows_never_leave_less_room_than_whole_contexts() -> None:
    many = {"max_num_seqs": 16384, "max_num_batched_tokens": 16384}
    assert capacity(on(WINDOWED, H100, 1), **many) == capacity(on(LLAMA_8B, H100, 1), **many)
    assert capacity(on(replace(WINDOWED, num_hidden_layers=800), H100, 1)) < 0


def test_where_every_layer_is_windowed_as_many_requests_run_as_may() -> None:
    windowed = replace(WINDOWED, sliding_window_layers=32)
    assert capacity(on(windowed, H100, 1), max_num_seqs=512) == 512 * 4096


def test_experts_need_room_for_what_they_work_on() -> None:
    wider = replace(MIXTURE, num_experts_per_tok=8)
    assert capacity(on(wider, H100, 2), tensor_parallel_size=2) < capacity(
        on(MIXTURE, H100, 2), tensor_parallel_size=2
    )


def test_the_kv_cache_is_of_whole_blocks() -> None:
    held = {capacity(on(LLAMA_8B, H100, 1), max_num_seqs=seqs) % 16 for seqs in range(1, 40)}
    assert held == {0}
    windowed = on(replace(WINDOWED, sliding_window_layers=32), H100, 1, 4090)
    assert capacity(windowed, max_num_seqs=512) == 512 * 4096


def test_a_model_too_large_leaves_less_than_nothing() -> None:
    assert capacity(on(LLAMA_70B, H100, 1)) < 0


@pytest.mark.parametrize(
    ("deployment", "sizes"),
    [
        (on(LLAMA_8B, H100, 1), (1,)),
        (on(LLAMA_8B, H100, 4), (1, 2, 4)),
        (on(LLAMA_8B, H100, 6), (1, 2)),
        (on(LLAMA_8B, H100, 3), (1,)),
        (on(LLAMA_8B, H100, 16), (1, 2, 4, 8, 16)),
        (on(LLAMA_8B, L4, 4, 65536), (2, 4)),
        (on(LLAMA_70B, H100, 8), (2, 4, 8)),
        (on(PHI_4, H100, 10), (1, 2, 5, 10)),
        (on(replace(PHI_4, intermediate_size=14336), H100, 10), (1, 2)),
        (on(replace(MIXTURE, moe_intermediate_size=768), H100, 8), (1, 2, 4, 8)),
        (on(replace(MIXTURE, moe_intermediate_size=770), H100, 8), (1, 2)),
    ],
)
def test_the_sizes_that_fit_divide_gpus_heads_and_mlps_and_hold_the_model(
    deployment: Deployment, sizes: tuple[int, ...]
) -> None:
    assert fitting_sizes(deployment) == sizes


@pytest.mark.parametrize(
    ("deployment", "message"),
    [
        (
            on(LLAMA_70B, H100, 1),
            "llama-70b (141 GB of weights) and one request of 4096 tokens do not fit on "
            "1 x h100_sxm (80 GiB each); --gpus 2 would do.",
        ),
        (
            on(LLAMA_70B, H100, 3),
            "llama-70b (141 GB of weights) and one request of 4096 tokens do not fit on "
            "3 x h100_sxm (80 GiB each); --gpus 2 would do.",
        ),
        (
            on(LLAMA_8B, L4, 1, 131072),
            "llama-8b (16 GB of weights) and one request of 131072 tokens do not fit on 1 x l4 "
            "(22 GiB each); --gpus 2 or --set max_model_len=9216 (longer requests are left out) "
            "would do.",
        ),
        (
            on(replace(PHI_4, num_hidden_layers=240), H100, 3),
            "phi-4 (166 GB of weights) and one request of 4096 tokens do not fit on "
            "3 x h100_sxm (80 GiB each); --gpus 5 would do.",
        ),
        (
            on(replace(LLAMA_70B, num_hidden_layers=8000), L4, 4),
            "llama-70b (13694 GB of weights) and one request of 4096 tokens do not fit on 4 x l4 "
            "(22 GiB each); no number of these GPUs up to 64 would do: name larger GPUs or a "
            "smaller --model.",
        ),
    ],
)
def test_a_model_that_does_not_fit_is_refused_with_what_would_do(
    deployment: Deployment, message: str
) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        fitting_sizes(deployment)
    assert str(caught.value) == message
