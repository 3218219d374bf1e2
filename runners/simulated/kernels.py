"""How long single kernels take on a GPU: GEMM, element-wise, all-reduce, all-to-all, gather."""

from collections.abc import Mapping
from math import log2

from runners.simulated.efficiency import (
    DENSE,
    ELEMENTWISE_BANDWIDTH,
    GEMM_TOKENS,
    KERNEL_US,
    PCIE_BANDWIDTH,
    PCIE_HOP_US,
    PCIE_PAIR_BANDWIDTH,
    WEIGHT_ONLY,
    Share,
    efficiency,
)
from search_spaces.deployment import WEIGHT_BYTES, Gpu

ACTIVATION_BYTES = 2
CUSTOM_ALL_REDUCE_BYTES = 8 * 1024**2
"""From here on vLLM leaves an all-reduce to NCCL (its ``custom_all_reduce.py``)."""


class Gemm:
    """[tokens x k] by [k x n], the weights stored in some dtype."""

    def __init__(self, gpu: Gpu, weight_dtype: str, shares: Mapping[str, Share] = DENSE) -> None:
        reached = efficiency(gpu.name)
        multiplied = multiplied_in(gpu, weight_dtype)
        share = shares[multiplied]
        self.quantises = multiplied != "bf16"
        """Whether activations are brought to fp8 or fp4 too; without, weights are unpacked."""
        unpacking = 1.0 if self.quantises or weight_dtype == "bf16" else WEIGHT_ONLY
        tflops = peak_tflops(gpu, weight_dtype) * share.flops * unpacking
        tb_s = gpu.memory_bandwidth_tb_s * reached.gemm_bandwidth * share.bandwidth * unpacking
        self._flops_per_us, self._bytes_per_us = tflops * 1e6, tb_s * 1e6
        self._reached = reached.gemm_flops
        self._weight_bytes = WEIGHT_BYTES[weight_dtype]

    def us(self, tokens: float, k: float, n: float, matrices: float = 1.0) -> float:
        """With several matrices the tokens are shared out among them, in one kernel."""
        flops = 2 * tokens * k * n
        moved = matrices * k * n * self._weight_bytes + tokens * (k + n) * ACTIVATION_BYTES
        compute_us = flops / (self._flops_per_us * self._share(tokens / matrices))
        return KERNEL_US + max(compute_us, moved / self._bytes_per_us)

    def _share(self, tokens: float) -> float:
        """Of peak compute, between the tokens it was read at by their logarithm."""
        if tokens <= GEMM_TOKENS[0]:
            return self._reached[0]
        for i, upper in enumerate(GEMM_TOKENS[1:]):
            if tokens <= upper:
                part = log2(tokens / GEMM_TOKENS[i]) / log2(upper / GEMM_TOKENS[i])
                return self._reached[i] * (1 - part) + self._reached[i + 1] * part
        return self._reached[-1]


def multiplied_in(gpu: Gpu, weight_dtype: str) -> str:
    """What a GPU multiplies such weights in; those it has no arithmetic for are unpacked."""
    if weight_dtype == "nvfp4" and gpu.fp4_tflops:
        return "fp4"
    return "fp8" if weight_dtype == "fp8" and gpu.fp8_tflops else "bf16"


def peak_tflops(gpu: Gpu, weight_dtype: str) -> float:
    """Of the data sheet, for GEMMs over such weights."""
    lower = {"fp8": gpu.fp8_tflops, "fp4": gpu.fp4_tflops}
    return lower.get(multiplied_in(gpu, weight_dtype)) or gpu.bf16_tflops


def elementwise_us(values: float, gpu: Gpu) -> float:
    bytes_per_us = gpu.memory_bandwidth_tb_s * 1e6 * ELEMENTWISE_BANDWIDTH
    return KERNEL_US + values * ACTIVATION_BYTES / bytes_per_us


def gather_us(bytes_each: float, gpu: Gpu, gpus: int) -> float:
    """One GPU receives what each of the others holds."""
    if gpus == 1:
        return 0.0
    return KERNEL_US + (gpus - 1) * bytes_each / link_bytes_per_us(gpu, gpus)


def all_to_all_us(bytes_out: float, gpu: Gpu, gpus: int) -> float:
    """Every GPU sends so many bytes to the others in all; NCCL's, launched eagerly."""
    if gpus == 1:
        return 0.0
    start_us = efficiency(gpu.name).nccl_us if gpu.nvlink else (gpus - 1) * PCIE_HOP_US
    return start_us + bytes_out / link_bytes_per_us(gpu, gpus)


def all_reduce_us(message_bytes: float, gpu: Gpu, gpus: int) -> float:
    """Alpha-beta times: Thakur, Rabenseifner, Gropp (IJHPCA 2005); nccl-tests PERFORMANCE.md."""
    if gpus == 1:
        return 0.0
    reached = efficiency(gpu.name)
    peers_us = (gpus - 1) * message_bytes / link_bytes_per_us(gpu, gpus)
    halves_us = 2 * peers_us / gpus
    if not gpu.nvlink:  # a ring; vLLM has no kernel of its own for more than two over PCIe
        return 2 * (gpus - 1) * PCIE_HOP_US + halves_us
    if message_bytes >= CUSTOM_ALL_REDUCE_BYTES:
        return reached.nccl_us + halves_us
    one_shot_us = reached.all_reduce_us + peers_us
    two_shot_us = 2 * reached.all_reduce_us + halves_us
    return min(one_shot_us, two_shot_us)


def link_bytes_per_us(gpu: Gpu, gpus: int) -> float:
    """What an all-reduce or a gather gets of the link, one direction."""
    if gpu.nvlink:
        share = efficiency(gpu.name).nvlink_bandwidth
    else:
        share = PCIE_PAIR_BANDWIDTH if gpus == 2 else PCIE_BANDWIDTH
    return gpu.link_gb_s * 1e3 * share
