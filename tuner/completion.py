"""What a shell completes the value of an option to; read from files, so that it is quick."""

import re
from pathlib import Path

PACKAGES = Path(__file__).parents[1]
NAME = re.compile(r"^([\w./-]+):$", re.MULTILINE)
"""Of an entry at the left edge of a YAML file."""
TARGETS = (
    *("vllm", "env", "systemd", "compose", "kubernetes", "kserve", "production-stack", "llm-d"),
    *("ray-serve", "triton", "vllm-batch", "sglang", "tensorrt-llm", "tgi"),
)
"""Of `tune export`: spelled out, since importing the renderers would be slow."""
QUADRANTS = ("live-at-scale", "interactive", "economy", "bulk")


def objectives() -> list[str]:
    presets = PACKAGES / "objectives" / "presets"
    return [*sorted(path.stem for path in presets.glob("*.yaml")), "all"]


def gpus() -> list[str]:
    return [*_entries("gpus.yaml"), "cpu"]


def models() -> list[str]:
    return _entries("models.yaml")


def targets() -> list[str]:
    return [*TARGETS]


def quadrants() -> list[str]:
    return [*QUADRANTS]


def _entries(file: str) -> list[str]:
    text = (PACKAGES / "runners" / "simulated" / file).read_text(encoding="utf-8")
    return NAME.findall(text)
