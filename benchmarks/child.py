"""What one command took, run as a child process: seconds, CPU seconds, memory."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

KIB = 1024


@dataclass(frozen=True, slots=True)
class Spent:
    wall_s: float
    cpu_s: float
    """User and system time of the command and of all it waited for."""
    peak_rss_mb: float
    """Of the largest process; Linux counts this one's own memory too, so it stays small."""
    status: int


def spent(command: list[str], *, folder: Path | None = None) -> Spent:
    """Run a command in a folder and wait for it; nothing of its output is kept."""
    started_s = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    wall_s = time.perf_counter() - started_s
    process.returncode = os.waitstatus_to_exitcode(status)
    return Spent(
        wall_s=wall_s,
        cpu_s=usage.ru_utime + usage.ru_stime,
        peak_rss_mb=usage.ru_maxrss * KIB / 1e6,
        status=process.returncode,
    )


def tune() -> str:
    """The command of the environment this runs in."""
    command = Path(sys.executable).with_name("tune")
    if not command.exists():
        raise SystemExit(f"There is no {command}; run this with the environment's own Python.")
    return str(command)
