import sys
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from runners import EngineError, Failure, FailureKind
from runners.gpus import MIB, Gpu, Gpus, find_gpus, visible_devices

UUIDS = ("GPU-aa11", "GPU-ab22", "GPU-cc33")


class Lost(Exception):
    """The driver's."""


@dataclass
class FakeNvml:
    """Three GPUs of 80 GiB; what they hold is read from a script, one row a look."""

    used_mib: list[tuple[int, int, int]] = field(default_factory=lambda: [(100, 100, 100)])
    pids: tuple[int, ...] = (77, 78)
    lost: bool = False
    NVMLError: type[Exception] = Lost
    looks: int = 0

    def nvmlInit(self) -> None:
        if self.lost:
            raise Lost("Driver Not Loaded")

    def nvmlDeviceGetCount(self) -> int:
        return len(UUIDS)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetName(self, handle: int) -> str:
        return "NVIDIA H100"

    def nvmlDeviceGetUUID(self, handle: int) -> str:
        return UUIDS[handle]

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:
        if self.lost:
            raise Lost("GPU is lost")
        row = self.used_mib[min(self.looks, len(self.used_mib) - 1)]
        return SimpleNamespace(total=80 * 2**30, used=row[handle] * MIB)

    def nvmlDeviceGetComputeRunningProcesses(self, handle: int) -> list[Any]:
        return [SimpleNamespace(pid=pid) for pid in self.pids]


@dataclass
class Clock:
    """A clock that goes only while somebody sleeps, and the GPUs' script with it."""

    nvml: FakeNvml
    now_s: float = 0.0

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        self.nvml.looks += 1


def gpu(index: int) -> Gpu:
    return Gpu(index, UUIDS[index], "NVIDIA H100", 80.0)


def test_all_gpus_are_visible_unless_told_otherwise() -> None:
    assert find_gpus({}, FakeNvml()).visible == (gpu(0), gpu(1), gpu(2))


@pytest.mark.parametrize(
    ("text", "indices"),
    [
        ("2,0", [2, 0]),
        ("GPU-cc33, GPU-aa", [2, 0]),
        ("1,9,0", [1]),
        ("0,0,1", [0]),
        ("0,-1,1", [0]),
    ],
)
def test_the_variable_is_read_as_cuda_reads_it(text: str, indices: list[int]) -> None:
    found = find_gpus({"CUDA_VISIBLE_DEVICES": text}, FakeNvml())
    assert found.visible == tuple(gpu(index) for index in indices)
    assert found.trouble is None


@pytest.mark.parametrize(
    ("text", "trouble"),
    [
        ("", "CUDA_VISIBLE_DEVICES='' hides every GPU."),
        ("-1", "CUDA_VISIBLE_DEVICES='-1' hides every GPU."),
        ("GPU-a", "CUDA_VISIBLE_DEVICES='GPU-a' hides every GPU."),
        (
            "MIG-4f",
            "CUDA_VISIBLE_DEVICES names a part of a GPU (MIG), which is not supported.",
        ),
    ],
)
def test_hidden_gpus_are_none_and_it_says_why(text: str, trouble: str) -> None:
    found = find_gpus({"CUDA_VISIBLE_DEVICES": text}, FakeNvml())
    assert (found.visible, found.trouble) == ((), trouble)


def test_without_a_driver_there_are_none_and_nothing_is_waited_for() -> None:
    found = find_gpus({}, FakeNvml(lost=True))
    said = "NVIDIA's driver does not answer: Driver Not Loaded."
    assert found == Gpus((), said)
    assert (found.used_mib(), found.wait_until_free([0], {})) == ({}, None)


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    said = "`nvidia-ml-py` is not installed: `pip install 'paretune[gpu]'`."
    assert find_gpus({}) == Gpus((), said)


def test_an_engine_is_shown_its_gpus_by_what_never_changes() -> None:
    assert visible_devices([gpu(2), gpu(0)]) == "GPU-cc33,GPU-aa11"


def test_free_gpus_are_not_waited_for() -> None:
    gpus, clock = find_gpus({}, FakeNvml()), Clock(FakeNvml())
    said = gpus.wait_until_free([0, 1], gpus.used_mib(), clock=clock, sleep=clock.sleep)
    assert (said, clock.now_s) == (None, 0.0)


def test_memory_is_waited_for_until_it_is_as_free_as_at_first() -> None:
    held = FakeNvml([(100, 100, 100)])
    gpus, clock = find_gpus({}, held), Clock(held)
    at_first = gpus.used_mib()
    held.used_mib = [(70_000, 100, 100), (9_000, 100, 100), (356, 100, 100)]
    said = gpus.wait_until_free([0], at_first, timeout_s=9.0, clock=clock, sleep=clock.sleep)
    assert (said, clock.now_s) == (None, 1.0)


@pytest.mark.parametrize(
    ("pids", "whose"),
    [((77, 78), "process 77, 78"), ((), "a process that the driver does not name")],
)
def test_memory_that_stays_held_is_told_with_who_holds_it(
    pids: tuple[int, ...], whose: str
) -> None:
    held = FakeNvml(pids=pids)
    gpus, clock = find_gpus({}, held), Clock(held)
    at_first = gpus.used_mib()
    held.used_mib = [(100, 5100, 70_000)]
    said = gpus.wait_until_free([0, 1], at_first, timeout_s=2.0, clock=clock, sleep=clock.sleep)
    assert said == (
        "GPU 1 must be as free as before the first launch, but 5,000 MiB more are still in use "
        f"after 2 s by {whose}."
    )


def test_a_lost_driver_is_the_hosts_trouble() -> None:
    nvml = FakeNvml()
    gpus = find_gpus({}, nvml)
    nvml.lost = True
    with pytest.raises(EngineError) as caught:
        gpus.used_mib()
    said = "NVIDIA's driver stopped answering: GPU is lost. See `nvidia-smi`."
    assert caught.value.failure == Failure(FailureKind.HOST, said)
