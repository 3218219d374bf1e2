import platform
import runpy
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runners.simulated.attention import pairs_in_window
from runners.simulated.catalogue import gpu, gpus, model, models
from runners.simulated.kernels import all_reduce_us
from runners.simulated.layers import captured
from runners.simulated.roofline import MIXTURES, Roofline
from search_spaces.deployment import WEIGHT_BYTES, Deployment

BENCHMARK = Path(__file__).parents[3] / "benchmarks" / "roofline_vs_kernels.py"
HAS_KERNELS = (
    sys.platform == "linux" and platform.machine() == "x86_64" and sys.version_info < (3, 14)
)

Step = tuple[int, int, int, int, int]
STEPS = st.tuples(
    st.integers(1, 64),
    st.integers(0, 20_000),
    st.integers(0, 2_000_000),
    st.integers(0, 1100),
    st.integers(0, 10_000_000),
)


@cache
def roofline(
    model_name: str = "llama-3.1-8b",
    gpu_name: str = "h100_sxm",
    tensor_parallel_size: int = 1,
    weight_dtype: str = "bf16",
    kv_dtype: str = "bf16",
) -> Roofline:
    deployment = Deployment(
        model=replace(model(model_name), weight_dtype=weight_dtype),
        gpu=gpu(gpu_name),
        gpus=tensor_parallel_size,
        max_model_len=8192,
    )
    return Roofline(deployment, tensor_parallel_size=tensor_parallel_size, kv_dtype=kv_dtype)


ROOFLINES = st.builds(
    roofline,
    st.sampled_from([m.name for m in models()]),
    st.sampled_from([g.name for g in gpus()]),
    st.sampled_from([1, 2, 4, 8]),
    st.sampled_from(list(WEIGHT_BYTES)),
    st.sampled_from(["bf16", "fp8"]),
)


@given(ROOFLINES, STEPS, st.sampled_from([1, 2, 3, 4]), st.integers(1, 10_000))
def test_more_tokens_decodes_or_kv_never_shorten_a_step(
    steps: Roofline, step: Step, place: int, more: int
) -> None:
    longer = [*step]
    longer[place] += more
    before, after = steps.step_ms(*step), steps.step_ms(*longer)
    assert before > 0
    assert after >= before * (1 - 1e-12)


@given(STEPS)
def test_the_same_step_takes_the_same_time_whatever_was_asked_before(step: Step) -> None:
    fresh = Roofline(
        Deployment(model=model("yi-34b"), gpu=gpu("l4"), gpus=2, max_model_len=4096),
        tensor_parallel_size=2,
    )
    assert fresh.step_ms(*step) == roofline("yi-34b", "l4", 2).step_ms(*step)


def test_a_long_prompt_takes_longer_than_short_ones_of_as_many_tokens() -> None:
    steps = roofline()
    one, eight = steps.step_ms(1, 8192, 0, 0, 0), steps.step_ms(8, 8192, 0, 0, 0)
    # Measured kernels: 199.7 ms and 177.6 ms.
    assert one - eight == pytest.approx(199.7 - 177.6, rel=0.1)


def test_one_decode_is_bound_by_reading_the_weights() -> None:
    read_ms = model("llama-3.1-8b").weight_bytes / 3.35e12 * 1e3
    assert roofline().step_ms(0, 0, 0, 1, 0) == pytest.approx(1.29 * read_ms, rel=0.05)


def test_a_long_prefill_is_bound_by_compute() -> None:
    compute_ms = 2 * model("llama-3.1-8b").block_parameters * 4096 / 989e12 * 1e3
    assert roofline().step_ms(1, 4096, 0, 0, 0) == pytest.approx(1.5 * compute_ms, rel=0.05)


def test_half_the_weight_bytes_nearly_halve_a_lone_decode() -> None:
    bf16, fp8 = roofline(), roofline(weight_dtype="fp8")
    ratio = bf16.step_ms(0, 0, 0, 1, 1024) / fp8.step_ms(0, 0, 0, 1, 1024)
    assert 1.4 < ratio < 2


def test_fp8_speeds_up_prefill_only_where_the_gpu_computes_in_it() -> None:
    prefill = (1, 4096, 0, 0, 0)
    hopper = roofline().step_ms(*prefill) / roofline(weight_dtype="fp8").step_ms(*prefill)
    ampere = roofline(gpu_name="a100_sxm").step_ms(*prefill) / roofline(
        gpu_name="a100_sxm", weight_dtype="fp8"
    ).step_ms(*prefill)
    assert hopper > 1.2
    assert ampere < 1


def test_an_fp8_cache_shortens_decodes_of_long_contexts() -> None:
    decode = (0, 0, 0, 64, 64 * 4096)
    assert roofline(kv_dtype="fp8").step_ms(*decode) < 0.8 * roofline().step_ms(*decode)


def test_tensor_parallelism_pays_over_nvlink_and_costs_prefills_over_pcie() -> None:
    prefill = (1, 8192, 0, 0, 0)
    by_nvlink = roofline(gpu_name="h100_sxm", tensor_parallel_size=4).step_ms(*prefill)
    by_pcie = roofline(gpu_name="h100_pcie", tensor_parallel_size=4).step_ms(*prefill)
    assert by_nvlink < 0.5 * roofline(gpu_name="h100_sxm").step_ms(*prefill)
    assert by_pcie > 2.5 * by_nvlink


def test_decodes_are_padded_to_the_next_captured_graph() -> None:
    padded = [captured(n) for n in (0, 1, 2, 3, 4, 5, 8, 9, 17, 505, 512, 513)]
    assert padded == [0, 1, 2, 4, 4, 8, 8, 16, 24, 512, 512, 513]
    steps = roofline()
    assert steps.step_ms(0, 0, 0, 9, 9000) < steps.step_ms(0, 0, 0, 17, 9000)


@pytest.mark.parametrize(
    ("gpu_name", "gpus", "mib", "us"),
    # aiconfigurator's tables, vLLM's kernel and from 8 MiB NCCL; L40S goes over PCIe.
    [
        ("a100_sxm", 2, 1, 11),
        ("a100_sxm", 8, 1, 22),
        ("a100_sxm", 4, 64, 540),
        ("h100_sxm", 2, 1, 8),
        ("h100_sxm", 8, 1, 15),
        ("h100_sxm", 4, 64, 330),
        ("h200_sxm", 8, 64, 323),
        ("l40s", 2, 64, 3540),
    ],
)
def test_all_reduces_take_what_was_measured(gpu_name: str, gpus: int, mib: int, us: float) -> None:
    assert all_reduce_us(mib * 2**20, gpu(gpu_name), gpus) == pytest.approx(us, rel=0.2)


def test_what_has_no_roofline_is_refused() -> None:
    with pytest.raises(ValueError, match=r"`tensor_parallel_size >= 1` must hold, but got 0\."):
        roofline(tensor_parallel_size=0)
    with pytest.raises(ValueError, match="`kv_dtype` must be one of"):
        roofline(kv_dtype="int2")


@pytest.mark.skipif(not HAS_KERNELS, reason="no aiconfigurator-core for this platform")
def test_its_uncertainty_is_what_the_benchmark_finds() -> None:
    found = runpy.run_path(str(BENCHMARK))["stated"]()
    figures = f"within {found['median_percent']} % (median) and {found['p90_percent']} % (p90)"
    assert found["steps"] == 231
    assert figures in Roofline.uncertainty


@pytest.mark.skipif(not HAS_KERNELS, reason="no aiconfigurator-core for this platform")
@pytest.mark.parametrize(("weight_dtype", "steps"), [("bf16", 275), ("nvfp4", 44), ("mxfp4", 176)])
def test_what_it_says_of_mixtures_is_what_the_benchmark_finds(
    weight_dtype: str, steps: int
) -> None:
    benchmark = runpy.run_path(str(BENCHMARK))
    found = benchmark["summary"](benchmark["of_mixtures"](weight_dtype))
    figures = f"within {found['median_percent']} % (median) and {found['p90_percent']} % (p90)"
    assert found["steps"] == steps
    assert MIXTURES[weight_dtype].startswith(figures)


def test_a_lone_decode_reads_only_the_experts_it_is_routed_to() -> None:
    sparse, dense = roofline("qwen3-30b-a3b"), roofline("qwen3-32b")
    one_mixture, one_dense = (it.step_ms(0, 0, 0, 1, 1024) for it in (sparse, dense))
    full_mixture, full_dense = (it.step_ms(0, 0, 0, 64, 64 * 1024) for it in (sparse, dense))
    assert one_mixture < 0.3 * one_dense
    assert full_mixture / one_mixture > 2 * full_dense / one_dense


@pytest.mark.parametrize(
    ("model_name", "gpu_name", "gpus", "prefill_ms", "decode_ms", "decodes_ms"),
    # aiconfigurator-core 0.12.0: a prompt of 8192, then 1 and 64 decodes at 1024.
    [
        ("qwen3-30b-a3b", "h100_sxm", 1, 153.2, 4.7, 24.2),
        ("mixtral-8x7b", "h100_sxm", 4, 125.5, 4.0, 11.9),
        ("mixtral-8x7b", "a100_sxm", 4, 371.1, 6.4, 19.7),
        ("qwen3-235b-a22b", "h100_sxm", 8, 253.2, 7.8, 27.7),
        ("nvidia/MiniMax-M2.5-NVFP4", "b200_sxm", 2, 91.2, 4.6, 12.8),
        ("gpt-oss-120b", "h100_sxm", 2, 124.5, 3.7, 13.6),
    ],
)
def test_mixtures_take_what_measured_kernels_take(
    model_name: str,
    gpu_name: str,
    gpus: int,
    prefill_ms: float,
    decode_ms: float,
    decodes_ms: float,
) -> None:
    steps = roofline(model_name, gpu_name, gpus, model(model_name).weight_dtype)
    took = [
        steps.step_ms(*step)
        for step in ((1, 8192, 0, 0, 0), (0, 0, 0, 1, 1024), (0, 0, 0, 64, 65536))
    ]
    assert took == pytest.approx([prefill_ms, decode_ms, decodes_ms], rel=0.2)


def test_four_bit_floats_speed_up_decodes_everywhere_and_prefills_on_blackwell() -> None:
    prefill, decode = (1, 4096, 0, 0, 0), (0, 0, 0, 1, 1024)
    gains = {
        gpu_name: [
            roofline("qwen3-32b", gpu_name).step_ms(*step)
            / roofline("qwen3-32b", gpu_name, weight_dtype="nvfp4").step_ms(*step)
            for step in (prefill, decode)
        ]
        for gpu_name in ("h100_sxm", "b200_sxm")
    }
    assert gains["h100_sxm"][0] < 1 < 2 < gains["h100_sxm"][1]
    assert gains["b200_sxm"][0] > 1.5
    assert gains["b200_sxm"][1] > 1.5


def test_a_window_bounds_what_a_long_context_costs() -> None:
    windowed = roofline("mistralai/Mistral-7B-v0.1")
    full = roofline("mistralai/Mistral-7B-Instruct-v0.3")
    for step in ((1, 512, 1024, 0, 0), (0, 0, 0, 16, 16 * 4096)):
        assert windowed.step_ms(*step) == pytest.approx(full.step_ms(*step), rel=0.01)
    at_window, beyond = (windowed.step_ms(0, 0, 0, 16, 16 * n) for n in (4096, 32768))
    assert beyond == at_window
    assert full.step_ms(0, 0, 0, 16, 16 * 32768) > 2 * beyond
    assert full.step_ms(1, 8192, 24576, 0, 0) > 1.2 * windowed.step_ms(1, 8192, 24576, 0, 0)


@given(st.integers(0, 400), st.integers(0, 400), st.integers(1, 200))
def test_pairs_in_a_window_are_those_counted_one_by_one(
    chunk: int, earlier: int, window: int
) -> None:
    counted = sum(min(earlier + i, window) for i in range(1, chunk + 1))
    growing = float(pairs_in_window(np.array(chunk), np.array(earlier), window))
    assert growing == pytest.approx(counted)


def test_what_is_said_of_dense_models_is_not_said_of_others() -> None:
    plain = Roofline.uncertainty
    said = {
        name: roofline(name, weight_dtype=model(name).weight_dtype).uncertainty
        for name in (
            "llama-3.1-8b",
            "minimax-m2.5",
            "qwen3-32b-nvfp4",
            "mistralai/Mistral-7B-v0.1",
        )
    }
    assert said == {
        "llama-3.1-8b": plain,
        "minimax-m2.5": plain + "; mixtures of experts of this type unchecked",
        "qwen3-32b-nvfp4": plain + "; 4-bit weights unchecked",
        "mistralai/Mistral-7B-v0.1": plain + "; sliding windows unchecked",
    }
