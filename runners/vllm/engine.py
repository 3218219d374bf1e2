"""A vLLM server set to one config and measured under loads."""

import math
import time
from dataclasses import dataclass, replace
from itertools import count

from objectives import Load, Measurement, Workload
from runners import cores
from runners.load import Run, Server, offer
from runners.telemetry import Watch, implied_prefix_tokens, refuse_foreign_hits
from runners.vllm.arguments import live_settings
from runners.vllm.pulse import Pulse
from runners.vllm.server import VllmServer
from runners.vllm.start import engine_cores
from search_spaces import Config, Deployment, SearchSpace

WARM_UP = 64
"""Requests all at once before the first run on an engine: kernels are prepared for each size of
batch when it is first met, and a cold engine's first run had twice the latency of its second."""
BLOCK_TOKENS = 16
"""vLLM's KV block, where the server does not say."""


class Running:
    """A launched server and the runs it has seen.

    Args:
        salt: of this launch alone; prompts never repeat under different ones.
    """

    def __init__(self, server: VllmServer, deployment: Deployment, *, salt: str) -> None:
        self.server = server
        self.deployment = deployment
        self.served_as = server.model()
        self._salts = (f"{salt}/{run}" for run in count())
        self._warm = False

    def measure(self, load: Load) -> Measurement:
        """
        Raises:
            EngineError: the engine died, or the run says nothing of it.
        """
        if not self._warm:
            self._warm_up(load.workload)
            self._warm = True
        with Watch(self.server.url) as watch:
            run = self._offer(load)
        workload = load.workload
        implied = implied_prefix_tokens(workload, watch.block_tokens or BLOCK_TOKENS)
        told = watch.telemetry(run.duration_s, implied)
        refuse_foreign_hits(told, sum(r.input_tokens for r in workload.requests))
        return Measurement(
            results=run.results,
            duration_s=run.duration_s,
            gpus=self.deployment.gpus,
            engine={**told, "p99_send_lag_ms": run.p99_send_lag_ms},
        )

    def _warm_up(self, workload: Workload) -> None:
        """A few requests before anything is counted."""
        few = replace(workload, requests=workload.requests[:WARM_UP])
        self._offer(Load(workload=few.at_rate(math.inf)))

    def _offer(self, load: Load) -> Run:
        vocabulary = self.deployment.model.vocab_size
        with Pulse(self.server.url) as pulse:
            run = offer(
                Server(url=self.server.url, model=self.served_as, vocab_size=vocabulary),
                load,
                salt=next(self._salts),
                cores=_client_cores(self.deployment),
                trouble=lambda: self.server.trouble() or pulse.trouble,
            )
        self.server.check()
        return run


@dataclass(slots=True)
class VllmEngine:
    """A running server as one trial has it."""

    running: Running
    config: Config | None
    """To be set before each run; ``None``: the stock engine, whose knobs are not ours to turn."""
    space: SearchSpace
    began_s: float
    fresh: bool

    @property
    def age_s(self) -> float:
        return time.monotonic() - self.began_s

    def measure(self, load: Load) -> Measurement:
        """
        Raises:
            EngineError: the engine died, or the run says nothing of it.
        """
        self.running.server.wait_until_idle()
        if self.config is not None:
            self.running.server.retune(live_settings(self.config, self.space))
        return self.running.measure(load)


def _client_cores(deployment: Deployment) -> frozenset[int]:
    """Apart from a CPU engine's; beside a GPU the client may run anywhere."""
    if not deployment.gpu.is_cpu:
        return frozenset()
    return cores.available() - engine_cores(deployment.gpus) or cores.available()
