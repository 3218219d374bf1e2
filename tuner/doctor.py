"""``tune doctor``: what is installed, who owns the command, which engines can be used."""

import importlib.util
import platform
import shutil
import sys
from importlib.metadata import PackageNotFoundError, entry_points, version

from runners.gpus import find_gpus
from runners.simulated import catalogue
from runners.simulated.measured_kernels import MeasuredKernels
from runners.vllm import installed

PACKAGES = ("optuna", "mlflow", "pandas", "pydantic", "typer", "rich", "aiconfigurator-core")
EXTRAS = ("torch", "vllm", "ray", "psycopg", "pynvml", "optuna_dashboard")
NAMES = ("tuner", "search_spaces", "objectives", "runners", "results")


def report(engine_command: str | None = None) -> tuple[list[str], bool]:
    """Lines for a person, and whether everything needed is in order.

    Args:
        engine_command: how vLLM is started, where that is not found by itself.
    """
    lines = [f"Python {platform.python_version()} ({sys.executable})"]
    lines += [f"{name} {_version(name)}" for name in ("paretune", *PACKAGES)]
    command, owned = _owner()
    lines.append(command)
    foreign = [name for name in NAMES if not _ours(name)]
    if foreign:
        lines.append(
            f"Packages of another distribution shadow ours: {', '.join(foreign)}; install "
            "paretune in its own environment."
        )
    present = [name for name in EXTRAS if importlib.util.find_spec(name)]
    lines.append(f"Optional packages present: {', '.join(present) or 'none'}")
    measured = [gpu.name for gpu in catalogue.gpus() if MeasuredKernels.covers(gpu)]
    others = [gpu.name for gpu in catalogue.gpus() if gpu.name not in measured]
    lines.append(f"Simulated GPUs by measured kernels: {', '.join(measured) or 'none'}")
    lines.append(f"Simulated GPUs by roofline: {', '.join(others) or 'none'}")
    lines += _real_engines(engine_command)
    return lines, owned and not foreign


def _real_engines(engine_command: str | None) -> list[str]:
    """Which vLLM there is and what it could run on; slow the first time."""
    there = find_gpus()
    names = ", ".join(f"{gpu.name} ({gpu.memory_gib:.0f} GiB)" for gpu in there.visible)
    lines = [f"GPUs: {names}" if names else f"GPUs: none ({there.trouble})"]
    try:
        found = installed.ask(engine_command)
    except ValueError as error:
        return [*lines, f"vLLM: {error}"]
    kind = "for CPUs" if found.cpu_build else "for GPUs"
    return [*lines, f"vLLM {found.version}, built {kind}, {len(found.flags)} flags"]


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _owner() -> tuple[str, bool]:
    """Ray installs a script named `tune` too."""
    owners = sorted(
        {str(e.dist.name) for e in entry_points(group="console_scripts", name="tune") if e.dist}
    )
    place = shutil.which("tune") or "not on PATH"
    if owners == ["paretune"]:
        return f"`tune` is ours ({place})", True
    return (
        f"`tune` is claimed by {', '.join(owners) or 'nobody'} ({place}); use `paretune` or "
        "`python -m tuner`, which do the same",
        False,
    )


def _ours(name: str) -> bool:
    spec = importlib.util.find_spec(name)
    mine = importlib.util.find_spec("tuner")
    if spec is None or spec.origin is None or mine is None or mine.origin is None:
        return False
    return spec.origin.rsplit("/", 2)[0] == mine.origin.rsplit("/", 2)[0]
