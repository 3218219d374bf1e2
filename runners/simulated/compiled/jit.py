"""Compilation by Numba, typed, and kept on disk from one process to the next."""

from collections.abc import Callable
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar, cast

from numba import njit

Function = TypeVar("Function", bound=Callable[..., Any])


def jit(function: Function) -> Function:
    """Compiled as a part of whoever calls it."""
    return cast(Function, njit(function))


def kept(function: Function) -> Function:
    """Compiled once and for all.

    Numba compiles anew when the function's own file has changed, but not when one it calls from
    another file has; so it is kept under a name that every file here is part of. It lets other
    threads run meanwhile, such as the one that writes to MLflow.
    """
    function.__qualname__ += f"_{_sources()}"
    try:
        return cast(Function, njit(cache=True, nogil=True)(function))
    except RuntimeError:  # nowhere to write: neither beside this file nor in the user's cache
        return jit(function)


def is_kept(function: Callable[..., Any]) -> bool:
    """Whether some process has compiled it before; else its first call takes half a minute."""
    there = getattr(getattr(function, "_cache", None), "cache_path", None)
    name = function.__name__ + f"_{_sources()}"
    return there is not None and any(Path(there).glob(f"*.{name}-*.nbi"))


@cache
def _sources() -> str:
    files = sorted(Path(__file__).parent.glob("*.py"))
    return sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]
