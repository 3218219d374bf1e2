"""Runs the console blocks of a guide in an empty folder and compares what they print with it.

    python scripts/guide.py docs/guide.md            # say what differs; exit status 1 if anything
    python scripts/guide.py docs/guide.md --write    # put what was printed into the page

A block is fenced as ```console; a line that begins with `$ ` is a command for bash, and what
follows is what it prints, standard error included. Blocks fenced as ```console real are of real
engines: they are left as they are.
"""

import argparse
import difflib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COLUMNS = "100"
VARIES = (
    (re.compile(r"^Compiling the simulation.*\n", re.MULTILINE), ""),
    (re.compile(r"ETA .+"), "ETA _"),
    (re.compile(r"^Took .+?, engine time", re.MULTILINE), "Took _, engine time"),
    (re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\dZ)?)?"), "DATE"),
)
"""What one run prints otherwise than the next: wall time, dates, and what is done once only."""


def commands(block: str) -> Iterator[tuple[str, str]]:
    """Each command with what the page says it prints."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, printed = part.partition("\n")
        yield command, printed


def run(command: str, folder: Path) -> str:
    done = subprocess.run(  # noqa: S603 (the page is ours, and its commands are a shell's)
        ["/bin/bash", "-o", "pipefail", "-c", command],
        cwd=folder,
        env=_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    printed = "\n".join(line.rstrip() for line in done.stdout.splitlines()).strip("\n")
    return printed and printed + "\n"


def _environment() -> dict[str, str]:
    """`tune` and `python3` are those of the environment that runs this, without its settings."""
    ours = ("PARETUNE_", "MLFLOW_")
    kept = {name: text for name, text in os.environ.items() if not name.startswith(ours)}
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    return {**kept, "COLUMNS": COLUMNS, "NO_COLOR": "1", "PATH": path}


def rewritten(page: str, folder: Path) -> str:
    """The page with what its commands print now."""

    def anew(block: re.Match[str]) -> str:
        parts = [f"$ {command}\n{run(command, folder)}" for command, _ in commands(block[1])]
        return f"```console\n{''.join(parts)}```"

    return BLOCK.sub(anew, page)


def masked(text: str) -> str:
    for pattern, mask in VARIES:
        text = pattern.sub(mask, text)
    return text


def differences(page: str, now: str) -> list[str]:
    """Unified, with what varies masked."""
    before, after = (masked(text).splitlines() for text in (page, now))
    return list(difflib.unified_diff(before, after, "page", "now", lineterm=""))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("page", type=Path)
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    page = asked.page.read_text("utf-8")
    with tempfile.TemporaryDirectory() as folder:
        now = rewritten(page, Path(folder))
    if asked.write:
        asked.page.write_text(now, "utf-8")
        return 0
    found = differences(page, now)
    print("\n".join(found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
