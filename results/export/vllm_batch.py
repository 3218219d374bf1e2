"""A script around ``vllm run-batch``: a file of requests in, a file of answers out, no server."""

import re
import shlex
from typing import Any

from results.export.serving import Serving
from results.export.target import Files, Rendered, Target, ours_dropped
from results.export.words import settings_of, words

SCRIPT = re.compile(
    r"#!/usr/bin/env bash\nset -euo pipefail\n"
    r'exec vllm run-batch -i "\$1" -o "\$2"(?P<words>(?: \\\n    \S.*)+)\n'
)


def render(serving: Serving) -> Rendered:
    rest = {name: value for name, value in serving.settings.items() if name != "model"}
    # run-batch takes no model by position.
    given = [f"--model={serving.model}", *words(rest)]
    lines = "".join(f" \\\n    {shlex.quote(word)}" for word in given)
    script = (
        f'#!/usr/bin/env bash\nset -euo pipefail\nexec vllm run-batch -i "$1" -o "$2"{lines}\n'
    )
    notes = ["Start with: bash THIS_FILE requests.jsonl answers.jsonl"]
    if serving.quadrant != "bulk":
        notes.append(f"Made for bulk, and this is the {serving.quadrant} winner: TTFT is moot.")
    return Rendered(
        files={f"{serving.quadrant}.sh": script},
        dropped=ours_dropped(serving.ours),
        notes=tuple(notes),
    )


def _body(files: Files) -> str:
    """Without the comments below its first line."""
    (text,) = files.values()
    first, *rest = text.splitlines(keepends=True)
    return first + "".join(line for line in rest if not line.startswith("#"))


def complaints(files: Files) -> list[str]:
    found = SCRIPT.fullmatch(_body(files))
    if found is None:
        return ["the script must be one call of vllm run-batch"]
    loose = [word for word in _words(files) if not word.startswith("--")]
    return [f"`{word}` is no flag" for word in loose]


def _words(files: Files) -> list[str]:
    found = SCRIPT.fullmatch(_body(files))
    assert found is not None
    return shlex.split(found["words"].replace("\\\n", " "))


def read(files: Files) -> dict[str, Any]:
    return settings_of(_words(files))


TARGET = Target(
    name="vllm-batch",
    about="a script around `vllm run-batch`, for bulk",
    source="vLLM 0.32.0's run-batch (vllm/entrypoints/launchers/run_batch.py)",
    render=render,
    complaints=complaints,
    read=read,
    subcommand="run-batch",
)
