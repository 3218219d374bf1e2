"""``systemd-analyze verify``: its exit status is 0 whatever it finds, so what it says counts."""

import shutil
import subprocess
import tempfile
from pathlib import Path

from results.export.target import NotInstalled

WITHIN_S = 60.0
ABSENT = "is not executable: No such file or directory"
"""The program need not be on the machine that exports."""


def installed() -> bool:
    return shutil.which("systemd-analyze") is not None


def verify(unit: str) -> list[str]:
    """What is said of the unit itself."""
    program = shutil.which("systemd-analyze")
    if program is None:
        raise NotInstalled("systemd-analyze is not on PATH")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vllm.service"
        path.write_text(unit, encoding="utf-8")
        said = subprocess.run(  # noqa: S603 (an argument list, no shell)
            [program, "verify", "--man=no", str(path)],
            capture_output=True,
            text=True,
            check=False,
            timeout=WITHIN_S,
        ).stderr
    # It reads every unit of the machine; others' faults are not ours.
    mine = [line for line in said.splitlines() if line.startswith((str(path), "vllm.service"))]
    return [line for line in mine if ABSENT not in line]
