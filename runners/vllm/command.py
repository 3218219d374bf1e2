"""The command that starts vLLM, and what it says of itself: asked once, then remembered.

vLLM imports for ten seconds before it answers anything, its version included.
"""

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from runners.process import end_session, started_ticks

VARIABLE = "PARETUNE_VLLM"
ANSWER_WITHIN_S = 180.0
SHEBANG_BYTES = 1024
MEND = f'give --engine-command "DIR/bin/vllm serve", or set {VARIABLE} to it'


def resolve(text: str | None, environ: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """The words before the flags: the user's, else ``PARETUNE_VLLM``'s, else ``vllm serve``.

    Without a command of the user's, ``vllm`` is looked for on ``PATH``, then beside this Python.

    Raises:
        ValueError: no command, one that is not there, or one that may not be run.
    """
    written = text if text is not None else environ.get(VARIABLE)
    if written is None:
        found = shutil.which("vllm", path=environ.get("PATH")) or _beside(Path(sys.executable))
        if found is None:
            raise ValueError(f"No vLLM found on PATH or beside this Python: {MEND}.")
        return found, "serve"
    try:
        words = shlex.split(written)
    except ValueError as error:
        raise ValueError(
            f"Cannot read the engine command {written!r} ({error}): {MEND}."
        ) from None
    if not words:
        raise ValueError(f"The engine command is empty: {MEND}.")
    words[0] = _executable(words[0], environ)
    return tuple([*words, "serve"] if len(words) == 1 and _is_vllm(words[0]) else words)


def python_of(command: Sequence[str]) -> Path | None:
    """The Python that the command's script runs on, by its first lines; ``None``: not said."""
    try:
        with Path(command[0]).open("rb") as file:
            head = os.fsdecode(file.read(SHEBANG_BYTES))
    except OSError:
        return None
    first, _, rest = head.partition("\n")
    if not first.startswith("#!"):
        return Path(command[0]) if Path(command[0]).name.startswith("python") else None
    # Where a path is too long for the kernel, pip writes: '''exec' "/long/python" "$0" "$@"
    long = re.match(r"'''exec' (?P<quote>\"?)(?P<python>.+?)(?P=quote) \"\$0\"", rest)
    words = [long["python"]] if long else shlex.split(first[2:])
    if words and Path(words[0]).name == "env":
        words = [shutil.which(words[-1]) or ""]
    python = Path(words[0]) if words else None
    return python if python and python.name.startswith("python") and python.is_file() else None


def version(command: Sequence[str], environ: Mapping[str, str] = os.environ) -> str:
    """What the command says is its version, such as ``0.32.0+cpu``.

    Raises:
        ValueError: it does not say.
    """
    before = command[: command.index("serve")] if "serve" in command else command
    said = ask((*before, "--version"), environ)
    numbers = re.findall(r"^(?:vllm\s+)?v?(\d+\.\d+\S*)\s*$", said, flags=re.MULTILINE)
    if not numbers:
        raise ValueError(
            f"`{' '.join(before)} --version` must print a version, but printed {said[-200:]!r}."
        )
    return str(numbers[-1])


def is_cpu_build(version: str) -> bool:
    return "cpu" in version.partition("+")[2].split(".")


def ask(argv: Sequence[str], environ: Mapping[str, str] = os.environ) -> str:
    """What a command prints, from memory where it has been asked before and has not changed.

    Only a Python script is remembered: what a wrapper or a container starts may change unseen.

    Raises:
        ValueError: it failed, or took too long.
    """
    if python_of(argv) is None:
        return _run(argv, environ)
    place = _memory(argv, environ)
    try:
        return place.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        said = _run(argv, environ)
        _remember(place, said)
        return said


def _run(argv: Sequence[str], environ: Mapping[str, str]) -> str:
    shown = shlex.join(argv)
    try:
        process = subprocess.Popen(  # noqa: S603 (an argument list, no shell)
            list(argv),
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise ValueError(f"Cannot run `{shown}`: {error.strerror}.") from error
    with process:
        started = started_ticks(process.pid)
        try:
            said, complaint = process.communicate(timeout=ANSWER_WITHIN_S)
        except subprocess.TimeoutExpired:
            raise ValueError(
                f"`{shown}` must answer within {ANSWER_WITHIN_S:g} s, but has not."
            ) from None
        finally:
            end_session(process.pid, started, grace_s=0.0)
    if process.returncode:
        last = complaint.decode(errors="replace").strip().rpartition("\n")[2]
        raise ValueError(f"`{shown}` failed with exit status {process.returncode}: {last[:300]}")
    return said.decode("utf-8", errors="replace")


def _memory(argv: Sequence[str], environ: Mapping[str, str]) -> Path:
    """Named by the words and by the script as it is now: an update writes it anew."""
    now = Path(argv[0]).stat()
    state = (str(now.st_mtime_ns), str(now.st_size), environ.get("PYTHONPATH", ""))
    known = "\0".join([*argv, *state])
    home = Path(environ.get("HOME") or Path.home())
    root = Path(environ.get("XDG_CACHE_HOME") or home / ".cache")
    return root / "paretune" / f"{hashlib.sha256(known.encode()).hexdigest()[:32]}.txt"


def _remember(place: Path, said: str) -> None:
    """Whole or not at all; without a place to write, it is asked again next time."""
    draft = place.with_suffix(f".{os.getpid()}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(said, encoding="utf-8")
        draft.replace(place)
    except OSError:
        return


def _executable(word: str, environ: Mapping[str, str]) -> str:
    path = Path(word).expanduser()
    if "/" not in word and not word.startswith("~"):
        found = shutil.which(word, path=environ.get("PATH"))
        if found is None:
            raise ValueError(f"There is no {word!r} on PATH: {MEND}.")
        return found
    if not path.is_file():
        raise ValueError(f"There is no {word}: {MEND}.")
    if not os.access(path, os.X_OK):
        raise ValueError(f"{word} may not be run: `chmod +x` it, or {MEND}.")
    return str(path.absolute())


def _is_vllm(word: str) -> bool:
    return Path(word).name == "vllm"


def _beside(python: Path) -> str | None:
    script = python.parent / "vllm"
    return str(script) if os.access(script, os.X_OK) else None
