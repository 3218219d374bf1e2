"""A vLLM server set to one config and measured under loads."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count

from objectives import Load, Measurement, Workload
from runners import cores
from runners.base import Failure
from runners.load import Run, Server, at_once, every_step, in_time, offer
from runners.telemetry import Watch, implied_prefix_tokens, refuse_foreign_hits
from runners.vllm.arguments import live_settings
from runners.vllm.server import VllmServer
from runners.vllm.start import engine_cores
from search_spaces import Config, Deployment, SearchSpace

BLOCK_TOKENS = 16
"""vLLM's KV block, where the server does not say."""


class Running:
    """A launched server and the runs it has seen.

    Args:
        salt: of this launch alone; prompts never repeat under different ones.
        step_log: its number, N of ``logs/steps-N.csv``; ``None``: it writes none.
    """

    def __init__(
        self,
        server: VllmServer,
        deployment: Deployment,
        *,
        salt: str,
        step_log: int | None = None,
    ) -> None:
        self.server = server
        self.deployment = deployment
        self.served_as = server.model()
        self._salts = (f"{salt}/{run}" for run in count())
        self._step_log = {} if step_log is None else {"step_log": step_log}
        self._warm = False

    def measure(self, load: Load) -> Measurement:
        """
        Raises:
            EngineError: the engine died, or the run says nothing of it.
        """
        workload = load.workload
        with self._watched() as (watch, trouble):
            run = self._offer(load, trouble)
        implied = implied_prefix_tokens(workload, watch.block_tokens or BLOCK_TOKENS)
        told = watch.telemetry(run.duration_s, implied)
        refuse_foreign_hits(told, sum(r.input_tokens for r in workload.requests))
        return Measurement(
            results=run.results,
            duration_s=run.duration_s,
            gpus=self.deployment.gpus,
            engine={**told, "p99_send_lag_ms": run.p99_send_lag_ms, **self._step_log},
        )

    def warm_up(self, workload: Workload) -> None:
        """Once, as it was launched, so that its first run is as fast as its tenth.

        Raises:
            EngineError: the engine died.
        """
        if self._warm:
            return
        with self._watched() as (_, trouble):
            self._offer(at_once(workload), trouble)
            if self.deployment.gpu.is_cpu:
                self._offer(every_step(workload, self.deployment.max_model_len), trouble)
        self._warm = True

    def _offer(self, load: Load, trouble: Callable[[], Failure | None]) -> Run:
        salt, cores = next(self._salts), self._client_cores
        return offer(self._served, load, salt=salt, cores=cores, trouble=trouble)

    @contextmanager
    def _watched(self) -> Iterator[tuple[Watch, Callable[[], Failure | None]]]:
        """Around one load: what the engine tells of it, and whether it is still there."""
        with Watch(self.server.url) as watch:
            yield watch, lambda: self.server.trouble() or watch.trouble
            self.server.check()

    @property
    def _served(self) -> Server:
        vocabulary = self.deployment.model.vocab_size
        return Server(url=self.server.url, model=self.served_as, vocab_size=vocabulary)

    @property
    def _client_cores(self) -> frozenset[int]:
        """Apart from a CPU engine's; beside a GPU the client may run anywhere."""
        if not self.deployment.gpu.is_cpu:
            return frozenset()
        return cores.available() - engine_cores(self.deployment.gpus) or cores.available()


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
        # Before a small batch is set, which would keep the others cold.
        self.running.warm_up(load.workload)
        if self.config is not None:
            self.running.server.retune(live_settings(self.config, self.space))
        return in_time(lambda: self.running.measure(load))
