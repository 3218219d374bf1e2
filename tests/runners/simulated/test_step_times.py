import platform
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runners.simulated import step_times
from runners.simulated.catalogue import gpu, model
from runners.simulated.measured_kernels import MeasuredKernels
from runners.simulated.roofline import Roofline
from runners.simulated.step_time import StepTime
from runners.simulated.step_times import Cached, rounded, step_time
from search_spaces.deployment import Deployment

HAS_KERNELS = (
    sys.platform == "linux" and platform.machine() == "x86_64" and sys.version_info < (3, 14)
)
Step = tuple[int, int, int, int, int]


def deployment(gpu_name: str, weight_dtype: str = "bf16") -> Deployment:
    shape = replace(model("llama-3.1-8b"), weight_dtype=weight_dtype)
    return Deployment(model=shape, gpu=gpu(gpu_name), gpus=4, max_model_len=8192)


class Counted(StepTime):
    """Remembers what it was asked; a step takes its decode KV tokens in milliseconds."""

    source = "counted"
    uncertainty = "none"

    def __init__(self) -> None:
        self.asked: list[Step] = []

    def step_ms(
        self,
        prefill_requests: int,
        prefill_tokens: int,
        prefill_kv_tokens: int,
        decode_requests: int,
        decode_kv_tokens: int,
    ) -> float:
        self.asked.append(
            (
                prefill_requests,
                prefill_tokens,
                prefill_kv_tokens,
                decode_requests,
                decode_kv_tokens,
            )
        )
        return float(decode_kv_tokens)


@pytest.mark.skipif(not HAS_KERNELS, reason="no aiconfigurator-core for this platform")
def test_measured_kernels_serve_where_there_are_any() -> None:
    steps = step_time(deployment("h100_sxm"), tensor_parallel_size=1)
    assert steps.source == MeasuredKernels.source
    assert steps.uncertainty == MeasuredKernels.uncertainty
    assert steps.step_ms(0, 0, 0, 64, 64 * 1024) == pytest.approx(10.3, rel=0.02)


@pytest.mark.parametrize(
    ("gpu_name", "weight_dtype"), [("l4", "bf16"), ("a100_sxm", "fp8"), ("h100_sxm", "int4")]
)
def test_the_roofline_serves_where_there_are_none(gpu_name: str, weight_dtype: str) -> None:
    on = deployment(gpu_name, weight_dtype)
    steps = step_time(on, tensor_parallel_size=2)
    assert steps.source == Roofline.source
    assert steps.uncertainty == Roofline.uncertainty
    plain = Roofline(on, tensor_parallel_size=2)
    assert steps.step_ms(1, 512, 0, 64, 65000) == pytest.approx(
        plain.step_ms(1, 512, 0, 64, 65000), rel=0.004
    )


def test_the_roofline_serves_when_asked_for() -> None:
    on = deployment("h100_sxm")
    assert step_time(on, tensor_parallel_size=1, prefer="roofline").source == Roofline.source


def test_the_same_deployment_shares_what_is_cached() -> None:
    first = step_time(deployment("l4"), tensor_parallel_size=1)
    assert step_time(deployment("l4"), tensor_parallel_size=1) is first
    assert step_time(deployment("l4"), tensor_parallel_size=1, kv_dtype="fp8") is not first


def test_near_kv_tokens_share_a_step_and_all_else_is_exact() -> None:
    counted = Counted()
    cached = Cached(counted)
    assert cached.step_ms(0, 0, 0, 8, 100_000) == cached.step_ms(0, 0, 0, 8, 100_100)
    assert counted.asked == [(0, 0, 0, 8, 100_096)]
    cached.step_ms(0, 0, 0, 9, 100_000)
    cached.step_ms(1, 512, 100_000, 8, 100_000)
    cached.step_ms(1, 513, 100_100, 8, 100_000)
    cached.step_ms(1, 513, 100_000, 8, 100_100)
    assert counted.asked[1:] == [
        (0, 0, 0, 9, 100_096),
        (1, 512, 100_096, 8, 100_096),
        (1, 513, 100_096, 8, 100_096),
    ]


def test_a_full_cache_starts_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_times, "LARGEST_CACHE", 2)
    counted = Counted()
    cached = Cached(counted)
    for batch in (1, 2, 3, 3, 1):
        cached.step_ms(0, 0, 0, batch, 0)
    assert [step[3] for step in counted.asked] == [1, 2, 3, 1]


@given(st.integers(0, 2**40), st.integers(0, 2**40))
def test_rounded_tokens_keep_their_order_and_are_near(one: int, other: int) -> None:
    assert abs(rounded(one) - one) <= one / 256
    assert (rounded(one) <= rounded(other)) == (one <= other) or rounded(one) == rounded(other)
    if one < 256:
        assert rounded(one) == one
