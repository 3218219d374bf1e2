"""How a vLLM process comes to be: by its own command, or forked off an import-once launcher."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from runners import cores
from runners.process import Session, start
from search_spaces import Deployment

INSIDE = Path(__file__).parent / "inside"
"""What runs inside the engine; only vLLM's Python imports it."""


@dataclass(frozen=True, slots=True)
class PlainStart:
    """Runs the command, as a production server would."""

    command: tuple[str, ...]
    log: Path | None

    def __call__(self, arguments: Sequence[str], env: Mapping[str, str]) -> Session:
        if self.log is not None:
            self.log.parent.mkdir(parents=True, exist_ok=True)
        return start((*self.command, *arguments), env=env, log=self.log)


def environment(deployment: Deployment, *, visible: str | None) -> dict[str, str]:
    """The engine's whole environment.

    Args:
        visible: the GPUs of this launch, as CUDA reads them.
    """
    env = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    env |= {"VLLM_NO_USAGE_STATS": "1", "VLLM_DO_NOT_TRACK": "1"}
    if visible is not None:
        env["CUDA_VISIBLE_DEVICES"] = visible
    if deployment.gpu.is_cpu:
        env |= _threads(deployment.gpus)
    return env


def engine_cores(ranks: int) -> frozenset[int]:
    """The cores of a CPU build: apart from the client's, if that leaves one for every rank."""
    engine, _ = cores.split(cores.available())
    return engine if ranks <= len(engine) else cores.available()


def _threads(ranks: int) -> dict[str, str]:
    """One group of cores per rank: a CPU build left to itself wants a NUMA node for each, and its
    threads spin where they meet other work."""
    engine = engine_cores(ranks)
    share = max(1, len(engine) // ranks)
    groups = [sorted(engine)[rank * share :][:share] for rank in range(ranks)]
    bound = "|".join(",".join(map(str, group)) for group in groups)
    return {
        "OMP_NUM_THREADS": str(share),
        "VLLM_CPU_OMP_THREADS_BIND": os.environ.get("VLLM_CPU_OMP_THREADS_BIND", bound),
    }
