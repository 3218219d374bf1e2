"""What a benchmark ran on and how busy that was, beside its figures: one JSON object."""

import argparse
import json
import os
import platform
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

PRESSURE = Path("/proc/pressure/cpu")
CPUS = Path("/proc/cpuinfo")


def options(about: str | None) -> argparse.ArgumentParser:
    """A parser with what every benchmark takes."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument(
        "--out", "--output", type=Path, metavar="FILE", help="write the JSON here too"
    )
    return parser


def publish(measure: Callable[[], Mapping[str, Any]], out: Path | None) -> None:
    """Print what was measured between two looks at how busy the machine is."""
    before = cpu_pressure_avg10_percent()
    figures = measure()
    after = cpu_pressure_avg10_percent()
    found = {
        "paretune": version("paretune"),
        "machine": machine(),
        "cpu_pressure_avg10_percent": {"before": before, "after": after},
        **figures,
    }
    text = json.dumps(found, indent=2, allow_nan=False)
    print(text)
    if out is not None:
        out.write_text(text + "\n", "utf-8")


def machine() -> dict[str, Any]:
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": cpu_model(),
        "python": platform.python_version(),
        "system": platform.platform(),
    }


def cpu_model() -> str:
    lines = CPUS.read_text("utf-8").splitlines() if CPUS.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())


def cpu_pressure_avg10_percent() -> float | None:
    """Share of the last 10 s in which something waited for a core; ``None`` where not known."""
    if not PRESSURE.exists():
        return None
    some = PRESSURE.read_text("utf-8").splitlines()[0]
    return float(dict(part.split("=") for part in some.split()[1:])["avg10"])


def others_cpu_s() -> float:
    """CPU seconds since boot of whatever is not this process or a descendant of it."""
    spent = psutil.cpu_times()
    busy_s = spent.user + spent.nice + spent.system + spent.irq + spent.softirq
    this = psutil.Process()
    return float(busy_s - _spent_s(this) - sum(map(_spent_s, this.children(recursive=True))))


def _spent_s(process: psutil.Process) -> float:
    """With its children's that have ended; none for one that has just ended."""
    try:
        return float(sum(process.cpu_times()[:4]))
    except psutil.NoSuchProcess:
        return 0.0
