"""A winner as a config file for ``vllm serve --config``.

A boolean that is true by default must be written ``no-<flag>: true``: vLLM 0.32 silently drops
``<flag>: false`` and starts with it on.
"""

import math
from typing import Any

import yaml

from search_spaces import Config, SearchSpace, Value
from search_spaces.vllm_speculation import speculation

MEMORY_GUARD = 0.02
"""Taken off ``gpu_memory_utilization``: what fits while tuning may not after a driver update."""
UNSET = ("none", "auto")


def config_file(
    config: Config, space: SearchSpace, *, model: str, max_model_len: int, header: list[str]
) -> str:
    """The file's text: a header of comments, then one setting a line.

    Our own knobs have no place in it: the stock engine knows none of them. The header says which
    were left out, and which settings may change what the model answers.
    """
    ours = {knob.name for knob in space.knobs if knob.owner == "ours"}
    settings: dict[str, Any] = {"model": model, "max-model-len": max_model_len}
    for name, value in config.items():
        if name not in ours:
            settings |= _setting(name, value)
    settings["stream-interval"] = 1
    lines = [*header, *_warnings(config, space)]
    comments = "".join(f"# {_one_line(line)}\n" for line in lines)
    return comments + yaml.safe_dump(
        settings, sort_keys=False, default_flow_style=False, width=math.inf
    )


def _warnings(config: Config, space: SearchSpace) -> list[str]:
    """What is missing from the file, and what in it may change answers."""
    turned = [knob for knob in space.knobs if config[knob.name] != knob.default]
    ours = [f"{knob.name} {config[knob.name]}" for knob in turned if knob.owner == "ours"]
    lossy = [f"{knob.name} {config[knob.name]}" for knob in turned if knob.lossy]
    lines = []
    if ours:
        text = "Tuned with our scheduler class, whose settings this file leaves out: "
        lines.append(f"{text}{', '.join(ours)}.")
    if lossy:
        lines.append(f"May change what the model answers: {', '.join(lossy)}.")
    return lines


def _one_line(text: str) -> str:
    """No line break and nothing else that YAML refuses or that would end the comment."""
    return "".join(character if character.isprintable() else " " for character in text)


def _setting(name: str, value: Value) -> dict[str, Any]:
    flag = name.replace("_", "-")
    if isinstance(value, bool):
        return {flag: True} if value else {f"no-{flag}": True}
    if value in UNSET:
        return {}
    if name == "speculative_config":
        return {flag: speculation(str(value))}
    if name == "gpu_memory_utilization":
        return {flag: round(float(value) - MEMORY_GUARD, 4)}
    return {flag: value}
