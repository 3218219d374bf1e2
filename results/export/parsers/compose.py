"""``docker compose config``, where Docker's plugin is installed."""

import shutil
import subprocess
import tempfile
from pathlib import Path

from results.export.target import Files, NotInstalled

WITHIN_S = 60.0


def config_check(files: Files) -> list[str]:
    docker = shutil.which("docker")
    if docker is None or _run([docker, "compose", "version"]):
        raise NotInstalled("`docker compose` does not run here")
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            (Path(folder) / name).write_text(text, encoding="utf-8")
        (name,) = (name for name in files if name.endswith(".compose.yaml"))
        return _run([docker, "compose", "-f", str(Path(folder) / name), "config", "--quiet"])


def _run(argv: list[str]) -> list[str]:
    """What it complains of; nothing when it succeeds."""
    ended = subprocess.run(  # noqa: S603 (an argument list, no shell)
        argv, capture_output=True, text=True, check=False, timeout=WITHIN_S
    )
    return ended.stderr.splitlines() or ["it failed"] if ended.returncode else []
