"""The vLLM that is installed: how it is started, which it is, and what flags it knows."""

import shlex
from collections.abc import Iterable
from dataclasses import dataclass

from runners.vllm.command import is_cpu_build, resolve, version
from runners.vllm.flags import Flags, bundled_flags, installed_flags, unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    command: tuple[str, ...]
    version: str
    flags: Flags

    @property
    def cpu_build(self) -> bool:
        return is_cpu_build(self.version)

    @property
    def command_text(self) -> str:
        """The command as ``resolve`` reads it again."""
        return shlex.join(self.command)

    def refuse_unknown(self, names: Iterable[str]) -> None:
        """
        Raises:
            ValueError: this vLLM has no such flag.
        """
        if complaint := unknown(names, self.flags):
            raise ValueError(complaint)


def ask(text: str | None) -> Installed:
    """The vLLM behind ``--engine-command``, or wherever it is found; slow the first time.

    Raises:
        ValueError: there is none, or it does not say which version it is.
    """
    command = resolve(text)
    return Installed(command=command, version=version(command), flags=_flags(command))


def _flags(command: tuple[str, ...]) -> Flags:
    try:
        return installed_flags(command)
    except ValueError:
        return bundled_flags()
