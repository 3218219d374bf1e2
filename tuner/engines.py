"""From a study's spec to the runner that launches its engines."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from runners import Runner, leftovers
from runners.attached import AttachedRunner
from runners.simulated import SimulatedRunner, is_compiled
from runners.vllm import Launch, VllmRunner, installed
from runners.vllm.fork import forking
from runners.vllm.server import Start
from runners.vllm.start import engine_cores, environment
from search_spaces.vllm import fitting_sizes
from tuner.spec import StudySpec, deployment_of, space_of
from tuner.taught import taught
from tuner.teaching import PLAIN

SPECULATION = "speculative_config"
FORK = "PARETUNE_FORK"
"""Set to anything, a CPU build is imported once and forked per launch."""


@contextmanager
def engine_of(
    spec: StudySpec, logs: Path, say: Callable[[str], None] = lambda sentence: None
) -> Iterator[Runner]:
    """The engine a study launches; when the context is left nothing of it runs any more.

    Args:
        logs: the folder for what engines write.
        say: told of what takes time before the first trial, such as ending engines that a killed
            tuner left.
    """
    target = spec.target
    match target.engine:
        case "simulated":
            if not is_compiled():
                say("Compiling the simulation, once for this installation: half a minute.")
            yield simulated(spec)
        case "openai":
            assert target.url is not None
            yield AttachedRunner(
                target.url,
                model=target.model,
                gpus=target.gpus,
                vocab_size=target.shape.vocab_size if target.shape else None,
                api_key_env=target.api_key_env,
            )
        case "vllm":
            for sentence in leftovers.end_leftovers():
                say(sentence)
            launch = _launch(spec, logs)
            with _starting(launch) as start, VllmRunner(launch, start=start) as runner:
                yield runner


def simulated(spec: StudySpec) -> SimulatedRunner:
    """The simulated engine of a study's deployment, as the study found it taught."""
    return SimulatedRunner(
        deployment_of(spec),
        calibrations=taught(spec.target.calibrations or {}),
        acceptance_rate=spec.target.acceptance_rate,
        seed=spec.seed,
    )


def predictor(spec: StudySpec) -> SimulatedRunner | None:
    """The simulated engine, where it knows how long steps take or was taught."""
    other = {name for name, value in PLAIN.items() if spec.settings.get(name, value) != value}
    if spec.target.gpu is None or (SPECULATION in other and not spec.simulated):
        return None  # how many drafts are accepted only the real engine tells
    learnt = set() if other else set(spec.target.calibrations or {})
    known = learnt.issuperset(fitting_sizes(deployment_of(spec)))
    return simulated(spec) if spec.target.gpu.memory_bandwidth_tb_s or known else None


@contextmanager
def _starting(launch: Launch) -> Iterator[Callable[[Path], Start] | None]:
    """How engines are started: forked where that was asked for, else by their command."""
    if not (launch.installed.cpu_build and os.environ.get(FORK)):
        yield None
        return
    pinned = engine_cores(launch.deployment.gpus)
    env = environment(launch.deployment, visible=None)
    with forking(launch.installed.command, env, pinned) as start:
        yield start


def _launch(spec: StudySpec, logs: Path) -> Launch:
    return Launch(
        installed=installed.ask(spec.target.command),
        model=spec.target.model,
        deployment=deployment_of(spec),
        space=space_of(spec),
        logs=logs,
        seed=spec.seed,
        ready_timeout_s=spec.target.ready_timeout_s,
    )
