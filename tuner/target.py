"""Which engine serves which model on what: found out once, then kept with the study."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from runners import EngineError, attached, gpus
from runners.simulated import catalogue
from runners.vllm import Installed, has_weights, installed
from runners.vllm.command import resolve
from search_spaces import Gpu, Model, Value
from search_spaces.deployment import CPU, GIB, cpu
from tuner.duration import seconds
from tuner.errors import BadInput, EngineTrouble
from tuner.options import Options
from tuner.taught import kept_of

EngineName = Literal["simulated", "vllm", "openai"]
DEFAULT_MODEL = "meta-llama/Llama-3.1-8B-Instruct"
DEFAULT_GPU = "h100_sxm"
DEFAULT_GPUS = 4
OURS = frozenset(
    {
        "api_key",
        "config",
        "headless",
        "host",
        "middleware",
        "model",
        "port",
        "scheduler_cls",
        "served_model_name",
        "stream_interval",
        "uds",
    }
)
UNLIMITED_TOKENS = 2**20
"""Longest request offered to a server that does not say what it takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is measured, and how it is reached."""

    engine: EngineName
    model: str
    """As the engine knows it: a hub id, a folder, or the name it is served under."""
    shape: Model | None
    """``None`` where a server does not say."""
    gpu: Gpu | None
    gpus: int
    longest_tokens: int
    """Of any request it can serve."""
    command: str | None = None
    """How vLLM is started."""
    ready_timeout_s: float = 900.0
    url: str | None = None
    api_key_env: str | None = None
    arguments: Mapping[str, bool | int | float | str] = field(default_factory=dict)
    """Passed on to vLLM as they are."""
    acceptance_rate: float | None = None
    """Of drafted tokens on a simulated engine, each if those before it were accepted."""
    calibrations: Mapping[int, str] | None = None
    """What real engines had taught the simulated one, by tensor-parallel size; ``None``: not
    asked, nor is anything learnt."""

    @property
    def hardware(self) -> str:
        return self.gpu.name if self.gpu else "GPU of the server"


def target(options: Options) -> Target:
    """The engine asked for, or the one that can be used here.

    Raises:
        BadInput: options that belong to another engine, or nothing to launch.
        EngineTrouble: a server does not answer.
    """
    engine = engine_of(options)
    _refuse_foreign(options, engine)
    match engine:
        case "vllm":
            return _vllm(options)
        case "openai":
            return _openai(options)
        case _:
            return _simulated(options)


def with_arguments(on: Target, arguments: Mapping[str, Value]) -> Target:
    """The target with arguments for vLLM itself.

    Raises:
        ValueError: the installed vLLM has no such argument, or it is not the user's to set.
    """
    if not arguments:
        return on
    if taken := sorted(OURS & arguments.keys()):
        raise ValueError(f"`{taken[0]}` is set by every launch itself; drop it.")
    installed.ask(on.command).refuse_unknown(arguments)
    return replace(on, arguments={**on.arguments, **arguments})


def engine_of(options: Options) -> EngineName:
    """``auto`` is vLLM where there are a GPU and a command, simulated otherwise."""
    if options.engine != "auto":
        return options.engine
    if options.url is not None:
        return "openai"
    if options.engine_command is not None:
        return "vllm"
    if options.gpu is not None or not gpus.find_gpus().visible:
        return "simulated"
    try:
        resolve(None)
    except ValueError:
        return "simulated"
    return "vllm"


def _refuse_foreign(options: Options, engine: EngineName) -> None:
    belongs = {
        "--engine-command": (options.engine_command, "vllm"),
        "--url": (options.url, "openai"),
        "--api-key-env": (options.api_key_env, "openai"),
        "--gpu": (options.gpu, "simulated"),
        "--acceptance-rate": (options.acceptance_rate, "simulated"),
    }
    for option, (given, owner) in belongs.items():
        if given is not None and engine != owner:
            raise BadInput(f"{option} is for --engine {owner}, but the engine is {engine}.")


def _simulated(options: Options) -> Target:
    shape = catalogue.model(options.model or DEFAULT_MODEL)
    gpu, count = _simulated_hardware(options)
    learnt = _calibrations(options, gpu, model_name(shape), count)
    if gpu.is_cpu and not learnt:
        without = " without calibration" if learnt is None else ""
        raise BadInput(
            f"Nobody knows{without} how long steps of {shape.name} take on this CPU; a study with "
            "--engine vllm teaches it, or `tune calibrate` from one."
        )
    return Target(
        engine="simulated",
        model=model_name(shape),
        shape=shape,
        gpu=gpu,
        gpus=count,
        longest_tokens=shape.max_position_embeddings,
        acceptance_rate=options.acceptance_rate,
        calibrations=learnt,
    )


def _simulated_hardware(options: Options) -> tuple[Gpu, int]:
    if options.gpu == CPU:
        return this_cpu(), options.gpus or 1
    return catalogue.gpu(options.gpu or DEFAULT_GPU), options.gpus or DEFAULT_GPUS


def _calibrations(options: Options, gpu: Gpu, model: str, gpus: int) -> dict[int, str] | None:
    return kept_of(gpu, model, gpus) if options.calibration == "auto" else None


def _vllm(options: Options) -> Target:
    here = installed.ask(options.engine_command)
    shape = catalogue.model(options.model or DEFAULT_MODEL)
    model = model_name(shape)
    gpu, count = _hardware(options, here)
    return Target(
        engine="vllm",
        model=model,
        shape=shape,
        gpu=gpu,
        gpus=count,
        longest_tokens=shape.max_position_embeddings,
        command=here.command_text,
        ready_timeout_s=seconds(options.ready_timeout, "--ready-timeout"),
        calibrations=_calibrations(options, gpu, model, count),
        arguments={} if has_weights(model) else {"load_format": "dummy"},
    )


def model_name(shape: Model) -> str:
    """A folder by its whole path: a server may be started from any folder."""
    folder = Path(shape.name).expanduser()
    return str(folder.resolve()) if folder.is_dir() else shape.name


def _hardware(options: Options, here: Installed) -> tuple[Gpu, int]:
    """(kind, number) of what vLLM will run on."""
    if here.cpu_build:
        return this_cpu(), options.gpus or 1
    there = gpus.find_gpus()
    found = there.visible
    if not found:
        raise BadInput(f"--engine vllm needs a GPU, or a CPU build of vLLM. {there.trouble}")
    if options.gpus is not None and options.gpus > len(found):
        raise BadInput(f"--gpus {options.gpus}, but {len(found)} are visible.")
    return _known(found[0]), options.gpus or len(found)


def this_cpu() -> Gpu:
    """The CPU and the memory of this machine, in a GPU's place."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return cpu(memory / GIB)


def _known(device: gpus.Gpu) -> Gpu:
    """A GPU by its driver's name, or one of which only the memory is known."""
    try:
        return catalogue.gpu(device.name)
    except ValueError:
        return Gpu(
            name="-".join(device.name.lower().split()),
            memory_gib=device.memory_gib,
            memory_bandwidth_tb_s=0.0,
            bf16_tflops=0.0,
            fp8_tflops=0.0,
            link_gb_s=0.0,
            nvlink=False,
        )


def _openai(options: Options) -> Target:
    if options.url is None:
        raise BadInput("--engine openai needs --url, such as http://127.0.0.1:8000.")
    shape = None
    if options.model is not None and Path(options.model).is_dir():
        shape = catalogue.model(options.model)
    try:
        served = attached.served_model(
            options.url,
            None if shape else options.model,
            api_key_env=options.api_key_env,
        )
    except EngineError as error:
        raise EngineTrouble(str(error)) from error
    return Target(
        engine="openai",
        model=served.name,
        shape=shape,
        gpu=None,
        gpus=options.gpus or 1,
        longest_tokens=served.max_model_len
        or (shape.max_position_embeddings if shape else UNLIMITED_TOKENS),
        url=options.url.rstrip("/"),
        api_key_env=options.api_key_env,
    )
