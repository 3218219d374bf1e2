"""A winner as it is to be served: what every export is rendered from."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from search_spaces import Config, SearchSpace, Value
from search_spaces.vllm_speculation import speculation

MEMORY_GUARD = 0.02
"""Taken off ``gpu_memory_utilization``: what fits while tuning may not after a driver update."""
UNSET = ("none", "auto")
UNMEASURED_START_S = 2400.0
"""A start nobody measured may compile for 2222 s (a large model without a compile cache)."""
LEAST_START_S = 600.0
LABEL_CHARACTERS = 40

Settings = Mapping[str, Any]
"""vLLM's own arguments, named with underscores; values as its Python API takes them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes on one GPU as estimated for the winner's config."""

    total: float
    weights: float
    kv_cache: float
    runtime: float
    """CUDA context, communication buffers, graphs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """One winner.

    Args:
        name: a DNS label of what is served.
        ours: settings of our scheduler class that are turned; the stock engine has none of them.
        start_s: the longest launch measured, warm-up included; ``None``: none was.
        costs: by knob, what was measured of leaving it at its default.
    """

    name: str
    quadrant: str
    settings: Settings
    ours: Config
    gpu: str
    gpus: int
    memory: Memory | None
    start_s: float | None
    costs: Mapping[str, str]

    @property
    def model(self) -> str:
        return str(self.settings["model"])

    @property
    def model_is_folder(self) -> bool:
        """A path, not an id of a hub."""
        return self.model.startswith(("/", "./", "../", "~"))

    @property
    def on_cpu(self) -> bool:
        return self.gpu == "cpu"

    @property
    def replicas(self) -> int:
        return int(self.settings["data_parallel_size"])

    @property
    def gpus_per_replica(self) -> int:
        return int(self.settings["tensor_parallel_size"])

    @property
    def start_budget_s(self) -> int:
        """How long a start may take before it is given up: three times the longest measured."""
        if self.start_s is None:
            return int(UNMEASURED_START_S)
        return int(max(LEAST_START_S, 3 * self.start_s))


def engine_settings(
    config: Config, space: SearchSpace, *, model: str, max_model_len: int
) -> dict[str, Any]:
    """The stock engine's arguments; what is left to the engine is left out."""
    ours = {knob.name for knob in space.knobs if knob.owner == "ours"}
    settings: dict[str, Any] = {"model": model, "max_model_len": max_model_len}
    for name, value in config.items():
        if name not in ours and value not in UNSET:
            settings[name] = _value(name, value)
    settings["stream_interval"] = 1
    return settings


def our_settings(config: Config, space: SearchSpace) -> dict[str, Value]:
    """The settings of our scheduler class that are turned away from their defaults."""
    knobs = [knob for knob in space.knobs if knob.owner == "ours"]
    return {k.name: config[k.name] for k in knobs if config[k.name] != k.default}


def dns_label(text: str) -> str:
    """Lower-case letters, digits and dashes, a letter first, as Kubernetes wants its names."""
    plain = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    plain = plain if plain[:1].isalpha() else f"llm-{plain}"
    return plain[:LABEL_CHARACTERS].strip("-")


def _value(name: str, value: Value) -> Any:
    if name == "speculative_config":
        return speculation(str(value))
    if name == "gpu_memory_utilization":
        return round(float(value) - MEMORY_GUARD, 4)
    return value
