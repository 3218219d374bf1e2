"""The GPUs of this machine by NVML: which may be used, and when their memory is free again.

Without ``nvidia-ml-py`` or a driver there are none, and ``Gpus.trouble`` says why.
"""

import importlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, cast

from runners.base import EngineError, FailureKind

MIB = 2**20
TOLERATED_MIB = 256
"""Others on the GPU take and give back this much without being in anybody's way."""
POLL_S = 0.5


# ruff: noqa: N802 (the module's own names)
class Nvml(Protocol):
    """What is used of the module ``pynvml``; its handles are opaque."""

    NVMLError: type[Exception]

    def nvmlInit(self) -> None: ...
    def nvmlDeviceGetCount(self) -> int: ...
    def nvmlDeviceGetHandleByIndex(self, index: int) -> Any: ...
    def nvmlDeviceGetName(self, handle: Any) -> str: ...
    def nvmlDeviceGetUUID(self, handle: Any) -> str: ...
    def nvmlDeviceGetMemoryInfo(self, handle: Any) -> Any: ...
    def nvmlDeviceGetComputeRunningProcesses(self, handle: Any) -> Iterable[Any]: ...


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU that this process may use; ``index`` is NVML's, in the order of the PCI bus."""

    index: int
    uuid: str
    name: str
    memory_gib: float


@dataclass(frozen=True, slots=True)
class Gpus:
    """The visible GPUs; none, and why, where there is no driver to ask."""

    visible: tuple[Gpu, ...]
    trouble: str | None = None
    nvml: Nvml | None = None

    def used_mib(self) -> dict[int, float]:
        """Memory in use by GPU index, whoever uses it.

        Raises:
            EngineError: the driver is lost.
        """
        if self.nvml is None:
            return {}
        with _answering(self.nvml):
            return {gpu.index: self._used_mib(self.nvml, gpu.index) for gpu in self.visible}

    def wait_until_free(
        self,
        indices: Iterable[int],
        at_first: Mapping[int, float],
        *,
        timeout_s: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> str | None:
        """Wait for an ended engine's memory, which the driver gives back only some time later.

        Args:
            at_first: ``used_mib()`` before our first launch: what others held, they may hold.

        Returns:
            ``None`` when it is free, else which GPU is not and which processes are on it.

        Raises:
            EngineError: the driver is lost.
        """
        wanted = frozenset(indices) & frozenset(at_first)
        deadline_s = clock() + timeout_s
        while True:
            used = self.used_mib()
            held = sorted(i for i in wanted if used[i] > at_first[i] + TOLERATED_MIB)
            if not held:
                return None
            if clock() >= deadline_s:
                return self._held(held[0], used[held[0]] - at_first[held[0]], timeout_s)
            sleep(POLL_S)

    def _used_mib(self, nvml: Nvml, index: int) -> float:
        memory = nvml.nvmlDeviceGetMemoryInfo(nvml.nvmlDeviceGetHandleByIndex(index))
        return float(memory.used) / MIB

    def _held(self, index: int, more_mib: float, timeout_s: float) -> str:
        assert self.nvml is not None
        with _answering(self.nvml):
            handle = self.nvml.nvmlDeviceGetHandleByIndex(index)
            running = list(self.nvml.nvmlDeviceGetComputeRunningProcesses(handle))
        pids = ", ".join(str(process.pid) for process in running)
        return (
            f"GPU {index} must be as free as before the first launch, but {more_mib:,.0f} MiB "
            f"more are still in use after {timeout_s:g} s by "
            f"{f'process {pids}' if pids else 'a process that the driver does not name'}."
        )


def find_gpus(environ: Mapping[str, str] = os.environ, nvml: Nvml | None = None) -> Gpus:
    """The GPUs that CUDA would show this process.

    Args:
        nvml: instead of the module ``pynvml``.
    """
    if nvml is None:
        try:
            nvml = cast(Nvml, importlib.import_module("pynvml"))
        except ImportError:
            return Gpus((), "`nvidia-ml-py` is not installed: `pip install 'paretune[gpu]'`.")
    try:
        nvml.nvmlInit()
        present = [_gpu(nvml, index) for index in range(nvml.nvmlDeviceGetCount())]
    except nvml.NVMLError as error:
        return Gpus((), f"NVIDIA's driver does not answer: {error}.")
    visible, trouble = _visible(present, environ.get("CUDA_VISIBLE_DEVICES"))
    if not present:
        trouble = "NVIDIA's driver knows of no GPU."
    return Gpus(visible, trouble, nvml)


def visible_devices(gpus: Iterable[Gpu]) -> str:
    """The text of ``CUDA_VISIBLE_DEVICES`` for an engine: by UUID, since CUDA numbers GPUs by
    their speed where NVML numbers them by their place on the bus."""
    return ",".join(gpu.uuid for gpu in gpus)


def _gpu(nvml: Nvml, index: int) -> Gpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    total = nvml.nvmlDeviceGetMemoryInfo(handle).total
    return Gpu(
        index,
        uuid=nvml.nvmlDeviceGetUUID(handle),
        name=nvml.nvmlDeviceGetName(handle),
        memory_gib=total / 2**30,
    )


def _visible(present: list[Gpu], text: str | None) -> tuple[tuple[Gpu, ...], str | None]:
    """As CUDA reads the variable: unset shows all, and the first wrong word hides the rest."""
    if text is None:
        return tuple(present), None
    visible: list[Gpu] = []
    for word in (word.strip() for word in text.split(",")):
        named = [gpu for gpu in present if _names(word, gpu)]
        if len(named) != 1 or named[0] in visible:
            break
        visible += named
    if visible:
        return tuple(visible), None
    if "MIG-" in text:
        return (), "CUDA_VISIBLE_DEVICES names a part of a GPU (MIG), which is not supported."
    return (), f"CUDA_VISIBLE_DEVICES={text!r} hides every GPU."


def _names(word: str, gpu: Gpu) -> bool:
    if word.isdecimal():
        return int(word) == gpu.index
    return word.startswith("GPU-") and gpu.uuid.startswith(word)


@contextmanager
def _answering(nvml: Nvml) -> Iterator[None]:
    try:
        yield
    except nvml.NVMLError as error:
        message = f"NVIDIA's driver stopped answering: {error}. See `nvidia-smi`."
        raise EngineError(FailureKind.HOST, message) from error
