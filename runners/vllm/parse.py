"""Arguments held against the parser of the installed vLLM; nothing is launched."""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from typing import Any

from runners.vllm.command import python_of

WITHIN_S = 300.0
ERROR = "error: "


@dataclass(frozen=True, slots=True)
class Parsed:
    """What vLLM understood, and which vLLM it was."""

    settings: Mapping[str, Any]
    version: str


class Refused(ValueError):
    """What vLLM says is wrong with the arguments."""


def parsed(
    command: Sequence[str],
    argv: Sequence[str],
    names: Sequence[str],
    *,
    model: str | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Parsed:
    """The settings of these names as vLLM understood them; takes as long as its imports.

    Args:
        command: how vLLM is started here.
        argv: a subcommand and its arguments.
        model: the model's folder, to have the settings held against it and each other.

    Raises:
        Refused: vLLM will not have them.
        LookupError: the command is no script of a Python that could be asked.
    """
    python = python_of(command)
    if python is None:
        raise LookupError(f"`{command[0]}` is no Python script")
    asked = json.dumps({"argv": list(argv), "names": list(names), "model": model})
    with as_file(files("runners.vllm") / "inside" / "paretune_parse.py") as script:
        ended = subprocess.run(  # noqa: S603 (an argument list, no shell)
            [str(python), str(script)],
            input=asked,
            env={**environ, "VLLM_TARGET_DEVICE": "cpu"},
            capture_output=True,
            text=True,
            check=False,
            timeout=WITHIN_S,
        )
    return _understood(ended)


def _understood(ended: subprocess.CompletedProcess[str]) -> Parsed:
    if ended.returncode:
        lines = ended.stderr.strip().splitlines() or ["it failed"]
        said = [line for line in lines if ERROR in line] or lines[-1:]
        raise Refused(said[0].partition(ERROR)[2] or said[0])
    said_last = json.loads(ended.stdout.strip().rpartition("\n")[2])
    if "error" in said_last:
        raise Refused(said_last["error"])
    return Parsed(settings=said_last["settings"], version=said_last["version"])
