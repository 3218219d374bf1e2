"""Which step-time model a deployment gets."""

from functools import lru_cache
from typing import Literal

from runners.simulated.kernel_table import tabled
from runners.simulated.measured_kernels import MeasuredKernels
from runners.simulated.roofline import Roofline
from runners.simulated.step_table import Tabled
from search_spaces.deployment import Deployment


@lru_cache(maxsize=64)
def step_time(
    deployment: Deployment,
    *,
    tensor_parallel_size: int,
    kv_dtype: str = "bf16",
    prefer: Literal["auto", "roofline"] = "auto",
) -> Tabled:
    """Measured kernels where there are any for the deployment, else the roofline."""
    if prefer == "auto" and MeasuredKernels.covers(deployment.gpu):
        try:
            return tabled(
                MeasuredKernels(
                    deployment, tensor_parallel_size=tensor_parallel_size, kv_dtype=kv_dtype
                )
            )
        except ValueError:
            pass  # no kernels for this dtype or shape; what was taken is in `source`
    return Roofline(deployment, tensor_parallel_size=tensor_parallel_size, kv_dtype=kv_dtype)
