"""What share of its data sheet a GPU's kernels reach: the constants of the roofline.

They were read off single kernels of the aiconfigurator-core 0.12.0 wheel (vLLM 0.24 on H100,
0.14 on A100), not fitted to whole steps. No H200 kernel went into them.
"""

from dataclasses import dataclass
from typing import NamedTuple

GEMM_TOKENS = (256, 512, 1024, 2048, 8192)
"""Where ``Efficiency.gemm_flops`` is given; tokens in the step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Efficiency:
    """Shares of peak bandwidth and compute, and what a kernel takes that does nothing."""

    gemm_bandwidth: float
    gemm_flops: tuple[float, float, float, float, float]
    prefill_flops: float
    """Attention of long prompts; short ones are bound by the floor and by their bytes."""
    prefill_floor_us: float
    kv_bandwidth: float
    decode_floor_us: float
    all_reduce_us: float
    """Of a few bytes, by vLLM's own kernel, one-shot."""
    nccl_us: float
    """Of a few bytes, by NCCL launched eagerly."""
    nvlink_bandwidth: float
    """All-reduce of many MB among 4 or 8 GPUs."""


AMPERE = Efficiency(
    gemm_bandwidth=0.70,
    gemm_flops=(0.70, 0.81, 0.84, 0.89, 0.92),
    prefill_flops=0.56,
    prefill_floor_us=40,
    kv_bandwidth=0.78,
    decode_floor_us=20,
    all_reduce_us=5.3,
    nccl_us=44,
    nvlink_bandwidth=0.66,
)
HOPPER = Efficiency(
    gemm_bandwidth=0.88,
    gemm_flops=(0.65, 0.82, 0.83, 0.83, 0.78),
    prefill_flops=0.67,
    prefill_floor_us=30,
    kv_bandwidth=0.87,
    decode_floor_us=12,
    all_reduce_us=4.6,
    nccl_us=21,
    nvlink_bandwidth=0.72,
)
GENERIC = Efficiency(
    gemm_bandwidth=0.82,
    gemm_flops=(0.60, 0.66, 0.70, 0.72, 0.68),
    prefill_flops=0.54,
    prefill_floor_us=30,
    kv_bandwidth=0.78,
    decode_floor_us=14,
    all_reduce_us=5.0,
    nccl_us=21,
    nvlink_bandwidth=0.70,
)
"""Between L40S, RTX PRO 6000 and B200; what a GPU of another generation gets, such as L4."""

MEASURED = {"a100": AMPERE, "a30": AMPERE, "h100": HOPPER, "h200": HOPPER}

KERNEL_US = 3.0
"""A kernel that does nothing; aiconfigurator's ``mem_empirical_constant_latency``."""
ELEMENTWISE_BANDWIDTH = 0.8
"""aiconfigurator's ``mem_bw_empirical_scaling_factor``."""
PCIE_PAIR_BANDWIDTH = 0.60
"""All-reduce of two GPUs over PCIe: 19 of 32 GB/s on L40S."""
PCIE_BANDWIDTH = 0.44
"""Of more: 28 of 64 GB/s on RTX PRO 6000 at TP 4. A host without peer-to-peer transfers across
its sockets has far less: aiconfigurator's L40S machine 3.7 GB/s at TP 4, 2.0 at TP 8."""
PCIE_HOP_US = 2.2


class Share(NamedTuple):
    """Of peak compute and bandwidth, on top of ``gemm_flops`` and ``gemm_bandwidth``."""

    flops: float = 1.0
    bandwidth: float = 1.0


DENSE = {"bf16": Share(), "fp8": Share(flops=0.77), "fp4": Share(flops=0.60, bandwidth=0.67)}
"""By what is multiplied. fp8: H100 and L40S alike, twice the peak gives 1.5 times. fp4: nvfp4 on
B200 and GB200, quantisation of the activations and all."""
EXPERTS = {"bf16": Share(flops=0.69), "fp8": Share(flops=0.38), "fp4": Share(flops=0.75)}
"""The same for experts in one kernel, evenly routed: bf16 and block-wise fp8 on H100, bf16 on A100
at TP 2-8, nvfp4 on B200. Tiles that an expert's few tokens do not fill are in it."""
ROUTING_US = 10.0
"""Of a batch of one beside its GEMMs, A100 and H100 in bf16; 24 for gpt-oss on H100."""

FP8_KV_BANDWIDTH = 0.78
"""Attention over an fp8 KV cache on top of ``kv_bandwidth``, H100."""
WEIGHT_ONLY = 0.85
"""GEMMs that unpack int4, int8 or, without fp8 compute, fp8 weights first; in bandwidth and in
compute. An assumption: the wheel has no kernels of this kind for vLLM."""


def efficiency(gpu_name: str) -> Efficiency:
    """Of the GPU's generation."""
    return MEASURED.get(gpu_name.partition("_")[0], GENERIC)
