import platform
import runpy
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runners.simulated.catalogue import gpu, gpus, model, models
from runners.simulated.kernels import all_reduce_us
from runners.simulated.roofline import Roofline, captured
from search_spaces.deployment import WEIGHT_BYTES, Deployment

BENCHMARK = Path(__file__).parents[3] / "benchmarks" / "roofline_vs_kernels.py"
HAS_KERNELS = (
    sys.platform == "linux" and platform.machine() == "x86_64" and sys.version_info < (3, 14)
)

Step = tuple[int, int, int, int, int]
STEPS = st.tuples(
    st.integers(0, 64),
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
