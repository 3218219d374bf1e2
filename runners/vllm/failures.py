"""Why vLLM would not start, or died, by what it wrote: texts of vLLM 0.32.

Its exit status says nothing (a crashed engine core ends the server with 0), and its last error is
"Engine core initialization failed. See root cause above". What it writes is untrusted.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from runners.base import Failure, FailureKind

DETAIL_CHARACTERS = 300
CHAINED_WITHIN_LINES = 3
KERNEL_COUNTERS = Path("/proc/vmstat")

ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
WHO = re.compile(r"\((?:[A-Za-z]\w*)(?: pid=\d+)?\) ")
LOGGED = re.compile(r"(?P<level>[A-Z]+) \d\d-\d\d \d\d:\d\d:\d\d (?:\S+ )?\[[\w.]+:\d+\] ?")
RAISED = re.compile(r"(?:[A-Za-z_]\w*\.)*[A-Za-z_]*(?:Error|Exception|Interrupt|Exit)(?:: |$)")
ARGPARSE = re.compile(r"[\w -]+: error: ")
PYDANTIC = re.compile(r"  (?:Value error|Assertion failed|Input should|Field required), ?")
NAMELESS = re.compile(r"(?:ValueError|RuntimeError|AssertionError|OSError): (?=\S)|\[shutdown\] ")
"""What says less than the message behind it."""
NO_FOLDER = re.compile(r"(?:\S*HFValidationError: )?Repo id must be .*?: '(?P<folder>/[^']*)'.*")
"""What the hub says of a folder that is not there."""
PYDANTIC_TAIL = re.compile(r" \[type=\w+, input_value=.*")
CHAINED = ("During handling of the above", "The above exception was the direct cause")
QUIET = frozenset({"INFO", "DEBUG", "WARNING"})
GENERIC = re.compile(
    r"Engine core initialization failed|EngineCore encountered an issue|WorkerProc initialization"
    r"|\d+ validation errors? for |RuntimeError: cancelled|EngineCore (?:failed|encountered)"
    r"|Worker failed with error|Engine loop is not running|raise \w+"
)
LOST_WORKER = re.compile(r"WorkerProc initialization failed")
DIED_UNEXPECTEDLY = re.compile(
    r"Worker proc \S+ died unexpectedly|engine core exited unexpectedly"
)

KINDS: tuple[tuple[FailureKind, re.Pattern[str]], ...] = (
    (
        FailureKind.DOES_NOT_FIT,
        re.compile(
            r"To serve at least one request|No available memory for the cache blocks"
            r"|on kv cache allocation is less than requested|is less than desired \w+ memory"
        ),
    ),
    (
        FailureKind.OUT_OF_MEMORY,
        re.compile(
            r"out of memory|OutOfMemoryError|Cannot allocate memory|can't allocate memory"
            r"|CUBLAS_STATUS_ALLOC_FAILED|^MemoryError",
            re.IGNORECASE,
        ),
    ),
    (
        FailureKind.HOST,
        re.compile(
            r"Address already in use|No space left on device|Permission denied"
            r"|NCCL error|nccl\w*Error|Too many open files|Read-only file system"
            r"|Error in memory profiling"
            r"|CUDA driver|GPU is lost|fallen off the bus|no CUDA-capable device|uncorrectable ECC"
            r"|CUDA initialization|CUDA unknown error|NVMLError|NVML_ERROR"
            r"|couldn't connect to 'https?://|Failed to resolve|NameResolutionError"
        ),
    ),
    (
        FailureKind.DIED,
        re.compile(r"^(?:TimeoutError|BrokenPipeError|ConnectionResetError|EOFError)|Timed out"),
    ),
)


@dataclass(frozen=True, slots=True)
class _Line:
    text: str
    chained: bool
    """Whether another exception came of this one, and says it better."""


def diagnose(
    lines: Sequence[str],
    *,
    stage: Literal["launch", "serving"],
    timed_out: bool,
    exit_status: int | None,
    oom_kills: int = 0,
) -> Failure:
    """What became of an engine, with the line nearest to the cause.

    Args:
        lines: the last ones that it wrote, oldest first.
        timed_out: whether it was not ready in time.
        exit_status: ``None``: it had not ended.
        oom_kills: how much ``oom_kills()`` has risen since the launch.
    """
    errors = _errors(lines)
    for kind, pattern in KINDS:
        for error in errors:
            if pattern.search(error.text):
                return Failure(kind, _bounded(error.text))
    if oom_kills:
        return Failure(FailureKind.OUT_OF_MEMORY, "The kernel ended a process to free memory.")
    if stage == "serving":
        return Failure(FailureKind.DIED, _cause(errors) or _ending(exit_status))
    cause = _cause([error for error in errors if not DIED_UNEXPECTEDLY.search(error.text)])
    if cause:
        return Failure(FailureKind.REFUSED, cause)
    if timed_out:
        last = next((text for line in reversed(lines) if (text := _plain(line)[1].strip())), "")
        return Failure(FailureKind.NEVER_READY, _bounded(f"not ready in time; last: {last}"))
    if _killed(lines, exit_status):
        return Failure(
            FailureKind.HOST, "a process was killed while the engine started (signal 9)"
        )
    if any(LOST_WORKER.search(error.text) for error in errors):
        return Failure(FailureKind.DIED, "a worker ended without a word while the engine started")
    return Failure(FailureKind.DIED, _ending(exit_status))


def oom_kills(counters: Path = KERNEL_COUNTERS) -> int:
    """How many processes the kernel has ended for memory since boot; 0 where it does not say."""
    try:
        found = re.search(r"^oom_kill (\d+)$", counters.read_text(encoding="ascii"), re.MULTILINE)
    except (OSError, UnicodeDecodeError):
        return 0
    return int(found[1]) if found else 0


def _errors(lines: Sequence[str]) -> list[_Line]:
    """Lines that state an error, earliest first: a cause is written before what came of it."""
    plain = [_plain(line) for line in lines]
    errors = []
    for at, (level, text) in enumerate(plain):
        told = DIED_UNEXPECTEDLY.search(text)
        if told or (level not in QUIET and _states_an_error(text)):
            after = [follower for _, follower in plain[at + 1 : at + 1 + CHAINED_WITHIN_LINES]]
            errors.append(_Line(text, chained=any(it.startswith(CHAINED) for it in after)))
    return errors


def _states_an_error(text: str) -> bool:
    return any(pattern.match(text) for pattern in (RAISED, ARGPARSE, PYDANTIC))


def _cause(errors: Sequence[_Line]) -> str:
    """The earliest error that says anything itself; one that only led to another comes last."""
    telling = [error for error in errors if not GENERIC.search(error.text)]
    first = next((error for error in telling if not error.chained), None)
    chosen = first or (telling[0] if telling else None)
    return _bounded(chosen.text) if chosen else ""


def _plain(line: str) -> tuple[str, str]:
    """(level, text) without colours, the process's name, the time and the place in the source."""
    text = WHO.sub("", ANSI.sub("", line).rstrip(), count=1)
    logged = LOGGED.match(text)
    return (logged["level"], text[logged.end() :]) if logged else ("", text)


def _bounded(text: str) -> str:
    """One line of printable text, without what Python, pydantic and argparse wrap around it."""
    for wrapping in (PYDANTIC, ARGPARSE, NAMELESS):
        match = wrapping.match(text)
        text = text[match.end() :] if match else text
    text = NO_FOLDER.sub(r"there is no model in \g<folder>", PYDANTIC_TAIL.sub("", text))
    shown = "".join(character if character.isprintable() else " " for character in text)
    words = " ".join(shown.split())
    return words if len(words) <= DETAIL_CHARACTERS else f"{words[: DETAIL_CHARACTERS - 3]}..."


def _killed(lines: Sequence[str], exit_status: int | None) -> bool:
    return exit_status == -9 or any(
        re.search(r"Failed core proc\(s\): \{[^}]*: -9\b", line) or DIED_UNEXPECTEDLY.search(line)
        for line in lines
    )


def _ending(exit_status: int | None) -> str:
    if exit_status is None:
        return "the engine ended without a word"
    how = f"signal {-exit_status}" if exit_status < 0 else f"exit status {exit_status}"
    return f"the engine ended without a word ({how})"
