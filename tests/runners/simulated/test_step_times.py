import platform
import sys
from dataclasses import replace

import pytest

from runners.simulated.catalogue import gpu, model
from runners.simulated.measured_kernels import MeasuredKernels
from runners.simulated.roofline import Roofline
from runners.simulated.step_times import step_time
from search_spaces.deployment import Deployment

HAS_KERNELS = (
    sys.platform == "linux" and platform.machine() == "x86_64" and sys.version_info < (3, 14)
)


def deployment(gpu_name: str, weight_dtype: str = "bf16") -> Deployment:
    shape = replace(model("llama-3.1-8b"), weight_dtype=weight_dtype)
    return Deployment(model=shape, gpu=gpu(gpu_name), gpus=4, max_model_len=8192)


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
    assert steps.source == "analytic roofline over data-sheet figures"
    assert steps.uncertainty.startswith(Roofline.uncertainty)
    plain = Roofline(on, tensor_parallel_size=2)
    assert steps.step_ms(1, 512, 0, 64, 65000) == plain.step_ms(1, 512, 0, 64, 65000)


def test_the_roofline_serves_when_asked_for() -> None:
    on = deployment("h100_sxm")
    steps = step_time(on, tensor_parallel_size=1, prefer="roofline")
    assert steps.source == "analytic roofline over data-sheet figures"


def test_the_same_deployment_shares_what_is_cached() -> None:
    first = step_time(deployment("l4"), tensor_parallel_size=1)
    assert step_time(deployment("l4"), tensor_parallel_size=1) is first
    assert step_time(deployment("l4"), tensor_parallel_size=1, kv_dtype="fp8") is not first
