"""vLLM's arguments as one line, for ``source``, systemd's ``EnvironmentFile=`` and Compose.

`docker run --env-file` keeps the quotes: it reads such files in another way than all others.
"""

import re
import shlex
from typing import Any

from results.export.serving import Serving
from results.export.target import Files, Rendered, Target, ours_dropped
from results.export.words import plain_words, settings_of

LINE = re.compile(r'VLLM_ARGS="([A-Za-z0-9_./:=,+@ -]*)"\n')


def render(serving: Serving) -> Rendered:
    line = f'VLLM_ARGS="{" ".join(plain_words(serving.settings))}"\n'
    return Rendered(
        files={f"{serving.quadrant}.env": line},
        dropped=ours_dropped(serving.ours),
        notes=("Start with: source THIS_FILE && vllm serve $VLLM_ARGS",),
    )


def body(files: Files) -> str:
    """The line itself, without comments."""
    (text,) = files.values()
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#"))


def complaints(files: Files) -> list[str]:
    found = LINE.fullmatch(body(files))
    return [] if found else ['the file must be VLLM_ARGS="..." in plain characters']


def read(files: Files) -> dict[str, Any]:
    (assignment,) = shlex.split(body(files))
    return settings_of(assignment.partition("=")[2].split())


TARGET = Target(
    name="env",
    about="vLLM's flags as one line of an environment file",
    source="systemd.exec(5), EnvironmentFile=; POSIX shell quoting",
    render=render,
    complaints=complaints,
    read=read,
)
