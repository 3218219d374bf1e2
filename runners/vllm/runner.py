"""Launches vLLM, and hands out a running engine again where turning live knobs is enough."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from runners.base import Description, EngineError, FailureKind
from runners.gpus import Gpus, find_gpus, visible_devices
from runners.vllm.arguments import launch_arguments
from runners.vllm.engine import Running, VllmEngine
from runners.vllm.faithful import Gate
from runners.vllm.installed import Installed
from runners.vllm.server import Order, Start, VllmServer, serving
from runners.vllm.start import INSIDE, PlainStart, engine_cores, environment
from search_spaces import Config, Deployment, SearchSpace
from search_spaces.vllm import launch_caps


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What every launch of a study has in common."""

    installed: Installed
    model: str
    deployment: Deployment
    space: SearchSpace
    logs: Path
    """Where engines' output and step logs go."""
    seed: int = 0
    ready_timeout_s: float = 900.0


@dataclass(slots=True)
class _Kept:
    """A running engine, and what it was launched for."""

    running: Running
    config: Config
    caps: dict[str, int]
    leave: ExitStack
    """Closing it ends the engine."""
    left_s: float = 0.0
    """When its last user left it: waiting for the next one is engine time too."""

    def serves(self, config: Config, space: SearchSpace) -> bool:
        """Whether turning live knobs is all that this config needs."""
        live = {knob.name for knob in space.knobs if knob.turn == "live"}
        alike = all(self.config[n] == value for n, value in config.items() if n not in live)
        below = all(int(config[name]) <= cap for name, cap in self.caps.items())
        return alike and below and self.running.server.trouble() is None


class VllmRunner:
    """Launches vLLM; as a context it keeps the last engine running between trials.

    Outside of a ``with`` every engine is ended when its launch is left.

    Args:
        start: from an engine's log to what starts it; the installed command by default.
    """

    def __init__(self, launch: Launch, *, start: Callable[[Path], Start] | None = None) -> None:
        self._launch = launch
        self._start = start or self._plain
        self._kept: _Kept | None = None
        self._keeping = False
        self._launches = _launches(launch.logs)
        self._gate = Gate(launch.space, launch.deployment.model.vocab_size)
        self._gpus = Gpus(()) if launch.deployment.gpu.is_cpu else find_gpus()
        self._used_at_first = self._gpus.used_mib()
        self.description = Description(
            engine="vllm",
            version=launch.installed.version,
            simulated=False,
            uncertainty="each figure is of one run",
            noiseless=False,
        )

    def __enter__(self) -> Self:
        self._keeping = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._keeping = False
        self.end()

    def has_flag(self, name: str) -> bool:
        """Whether the installed vLLM knows it; ``name`` has underscores."""
        return name in self._launch.installed.flags

    def end(self) -> None:
        """End the engine that is kept, if there is one."""
        kept, self._kept = self._kept, None
        if kept is not None:
            kept.leave.close()

    @contextmanager
    def launch(self, config: Config) -> Iterator[VllmEngine]:
        began_s = self._kept.left_s if self._kept else time.monotonic()
        fresh = self._kept is None or not self._kept.serves(config, self._launch.space)
        if fresh:
            try:
                self._replace(config)
            except EngineError as error:
                # A reference that was launched first is time of this config, too.
                error.engine_s = time.monotonic() - began_s
                raise
        assert self._kept is not None
        try:
            yield VllmEngine(
                self._kept.running, config, self._launch.space, began_s=began_s, fresh=fresh
            )
        except BaseException:
            self.end()
            raise
        self._kept.left_s = time.monotonic()
        if not self._keeping:
            self.end()

    @contextmanager
    def launch_file(self, path: Path) -> Iterator[VllmEngine]:
        """The stock engine, started as production starts it: from an exported file."""
        began_s = self._kept.left_s if self._kept else time.monotonic()
        self.end()
        with ExitStack() as leave:
            running = self._serve(leave, ("--config", str(path)), inside=None)
            yield VllmEngine(running, None, self._launch.space, began_s=began_s, fresh=True)

    def _replace(self, config: Config) -> None:
        """Launch another engine in place of the one that is kept."""
        self.end()
        if self._gate.needs_reference(config):
            self._kept = self._launched(self._gate.faithful(config))
            self.end()
        self._kept = self._launched(config)

    def _launched(self, config: Config) -> _Kept:
        launch = self._launch
        caps = launch_caps(launch.space, config)
        arguments = launch_arguments(
            {**config, **caps},
            launch.space,
            model=launch.model,
            max_model_len=launch.deployment.max_model_len,
            flags=launch.installed.flags,
        )
        with ExitStack() as leave:
            running = self._serve(leave, arguments, inside=INSIDE)
            server = running.server
            self._gate.check(server.url, running.served_as, config, engine_s=server.age_s)
            return _Kept(running, config, caps, leave.pop_all())

    def _serve(
        self, leave: ExitStack, arguments: tuple[str, ...], *, inside: Path | None
    ) -> Running:
        number, self._launches = self._launches, self._launches + 1
        launch = self._launch
        order = Order(
            arguments=arguments,
            env=environment(launch.deployment, visible=self._slot()),
            inside=inside,
            step_log=launch.logs / f"steps-{number}.csv",
            cores=self._cores,
        )
        start = self._start(launch.logs / f"engine-{number}.log")
        server: VllmServer = leave.enter_context(
            serving(order, start, ready_timeout_s=launch.ready_timeout_s)
        )
        return Running(
            server,
            launch.deployment,
            salt=f"{launch.seed}/{number}",
            step_log=number if inside else None,
        )

    def _slot(self) -> str | None:
        """The GPUs of the next launch, once their memory is free.

        Raises:
            EngineError: another process keeps it.
        """
        used = self._gpus.visible[: self._launch.deployment.gpus]
        trouble = self._gpus.wait_until_free([gpu.index for gpu in used], self._used_at_first)
        if trouble:
            raise EngineError(FailureKind.HOST, trouble)
        return visible_devices(used) if used else None

    @property
    def _cores(self) -> frozenset[int]:
        """A CPU build's, apart from the client's; beside a GPU the engine may run anywhere."""
        deployment = self._launch.deployment
        return engine_cores(deployment.gpus) if deployment.gpu.is_cpu else frozenset()

    def _plain(self, log: Path) -> Start:
        return PlainStart(self._launch.installed.command, log)


def _launches(logs: Path) -> int:
    """How many there were, so that a study taken up again goes on counting.

    One past the last number: a launch that the host failed has a number and no log.
    """
    names = (path.stem.partition("-")[2] for path in logs.glob("engine-*.log"))
    return 1 + max((int(name) for name in names if name.isdecimal()), default=-1)
