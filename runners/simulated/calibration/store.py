"""Calibrations kept from one study to the next, a JSON file each."""

import hashlib
import json
import os
import re
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from runners.simulated.calibration.belief import LEAST, NAMES, Calibration
from runners.simulated.calibration.fitted import TERMS, FittedSteps
from runners.simulated.calibration.least_squares import Linear

VERSION = 1
MARK = "paretune_calibration"
LARGEST_BYTES = 1_000_000
MOST_MS = 60_000.0
MOST_LOG_SD = 5.0
"""A factor of 150: what is said of anything so far off is of no use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What a calibration is of; it says nothing of any other."""

    gpu: str
    model: str
    engine_version: str
    tensor_parallel_size: int


@dataclass(frozen=True, slots=True)
class Kept:
    """A calibration, and the step times it corrects where those were fitted too."""

    calibration: Calibration
    fitted: FittedSteps | None = None
    """``None``: it corrects the step-time model that the deployment has."""


Taught = tuple[Served, Kept]
"""What a calibration is of, and what it says."""


def user_folder() -> Path:
    """Where calibrations are kept by default (the XDG base directory specification)."""
    given = os.environ.get("XDG_DATA_HOME", "")
    home = Path(given) if given.startswith("/") else Path.home() / ".local" / "share"
    return home / "paretune" / "calibration"


def file_of(served: Served, folder: Path | None = None) -> Path:
    """Readable, and by its hash never another's."""
    exact = json.dumps(asdict(served), sort_keys=True)
    words = f"{served.gpu} {served.model.rpartition('/')[2]} tp{served.tensor_parallel_size}"
    plain = re.sub(r"[^a-z0-9.]+", "-", words.lower()).strip("-.")[:80]
    digest = hashlib.sha256(exact.encode()).hexdigest()[:12]
    return (folder or user_folder()) / f"{plain}-{digest}.json"


def save(kept: Kept, served: Served, folder: Path | None = None) -> Path:
    """Write it whole or not at all; the path it is at."""
    path = file_of(served, folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".partial")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text_of(kept, served))
            file.flush()
            os.fsync(file.fileno())
        Path(partial).replace(path)
    finally:
        with suppress(FileNotFoundError):
            Path(partial).unlink()
    return path


def load(served: Served, folder: Path | None = None) -> Kept | None:
    """What is kept of it; ``None``: nothing.

    Raises:
        ValueError: there is a file, but it cannot be used.
    """
    path = file_of(served, folder)
    try:
        of, kept = _read(path)
    except FileNotFoundError:
        return None
    if of != served:
        raise ValueError(f"{path} is of {of}; delete it, or calibrate again.")
    return kept


def _read(path: Path) -> Taught:
    content = path.read_bytes()
    try:
        return parsed(content)
    except ValueError as error:
        raise ValueError(f"{path} {error}; delete it, or calibrate again.") from error


def text_of(kept: Kept, served: Served) -> str:
    """JSON, as ``parsed`` reads it."""
    return json.dumps(_to_json(kept, served), indent=2, allow_nan=False) + "\n"


def parsed(text: str | bytes) -> Taught:
    """
    Raises:
        ValueError: ``text_of`` of this version did not write it; says why.
    """
    try:
        if len(text) > LARGEST_BYTES:
            raise ValueError("it is too large")
        content = json.loads(text, parse_constant=_refused)
        return _served(content["of"]), _from_json(content)
    except (
        KeyError,
        TypeError,
        AttributeError,
        ArithmeticError,
        RecursionError,
        ValueError,
    ) as error:
        raise ValueError(f"is no calibration of this version ({error})") from error


def _to_json(kept: Kept, served: Served) -> dict[str, Any]:
    calibration, fitted = kept.calibration, kept.fitted
    return {
        MARK: VERSION,
        "of": asdict(served),
        # For people; read back are mean and covariance.
        "parameters": asdict(calibration.parameters),
        "standard_errors": calibration.standard_errors,
        "calibration": asdict(calibration),
        "fitted": None
        if fitted is None
        else {
            "coefficients": fitted.coefficients,
            "covariance": fitted.linear.covariance.tolist(),
            "scatter": fitted.linear.scatter,
            "rows": fitted.rows,
            "largest_tokens": fitted.largest_tokens,
        },
    }


def _from_json(content: Any) -> Kept:
    if content[MARK] != VERSION or isinstance(content[MARK], bool):
        raise ValueError(f"version {content[MARK]!r} instead of {VERSION}")
    fitted = content["fitted"]
    return Kept(_calibration(content["calibration"]), None if fitted is None else _fitted(fitted))


def _served(told: Any) -> Served:
    return Served(
        gpu=str(told["gpu"]),
        model=str(told["model"]),
        engine_version=str(told["engine_version"]),
        tensor_parallel_size=_count(told["tensor_parallel_size"]),
    )


def _calibration(told: dict[str, Any]) -> Calibration:
    mean = tuple(_number(one) for one in _list(told["mean"], len(NAMES)))
    if any(one < least for one, least in zip(mean, LEAST.tolist(), strict=True)):
        raise ValueError(f"parameters of {list(mean)} are below what they can be")
    if max(mean[2:]) > MOST_MS:
        raise ValueError(f"times of {list(mean[2:])} ms are above what they can be")
    if max(mean[:2]) > -LEAST[0]:
        raise ValueError(f"factors of e^{list(mean[:2])} are above what they can be")
    offset = told["kv_offset_tokens"]
    return Calibration(
        mean=mean,
        covariance=_covariance(told["covariance"], len(NAMES)),
        ttft_sd=_number(told["ttft_sd"], least=0, most=MOST_LOG_SD),
        tpot_sd=_number(told["tpot_sd"], least=0, most=MOST_LOG_SD),
        throughput_sd=_number(told["throughput_sd"], least=0, most=MOST_LOG_SD),
        ttft_tail_sd=_number(told["ttft_tail_sd"], least=0, most=MOST_LOG_SD),
        tpot_tail_sd=_number(told["tpot_tail_sd"], least=0, most=MOST_LOG_SD),
        probes=_count(told["probes"]),
        steps=_count(told["steps"]),
        kv_offset_tokens=None if offset is None else int(_number(offset)),
    )


def _fitted(told: dict[str, Any]) -> FittedSteps:
    coefficients = np.array([_number(told["coefficients"][name], least=0) for name in TERMS])
    if not coefficients[:3].any():
        raise ValueError("steps of no time")
    covariance = np.array(_covariance(told["covariance"], len(TERMS)))
    return FittedSteps(
        Linear(coefficients, covariance, _number(told["scatter"], least=0)),
        rows=_count(told["rows"]),
        largest_tokens=_count(told["largest_tokens"]),
    )


def _covariance(told: Any, size: int) -> tuple[tuple[float, ...], ...]:
    matrix = tuple(tuple(map(_number, _list(row, size))) for row in _list(told, size))
    values = np.array(matrix)
    spread = np.sqrt(np.where(np.diag(values) > 0, np.diag(values), 1.0))
    values = values / np.outer(spread, spread)
    if not np.allclose(values, values.T, atol=1e-6):
        raise ValueError("a covariance that is not symmetric")
    if np.linalg.eigvalsh(values).min() < -1e-6:
        raise ValueError("a covariance with a negative variance")
    return matrix


def _list(told: Any, size: int) -> list[Any]:
    if not isinstance(told, list) or len(told) != size:
        raise ValueError(f"{size} values were expected")
    return told


def _number(told: Any, *, least: float = -1e12, most: float = 1e12) -> float:
    if isinstance(told, bool) or not isinstance(told, (int, float)):
        raise TypeError(f"{told!r:.40} is not a number")
    if not (isfinite(told) and least <= told <= most):
        raise ValueError(f"{told} is out of range")
    return float(told)


def _count(told: Any) -> int:
    number = _number(told, least=0)
    if number != int(number):
        raise ValueError(f"{told} is no count")
    return int(number)


def _refused(constant: str) -> float:
    raise ValueError(f"{constant} is no number in JSON")


def latest(
    gpu: str, model: str, tensor_parallel_size: int, folder: Path | None = None
) -> tuple[Served, Kept] | None:
    """What was kept last of them, by whichever version of the engine.

    Raises:
        ValueError: as ``load``.
    """
    wanted = Served(
        gpu=gpu, model=model, engine_version="", tensor_parallel_size=tensor_parallel_size
    )
    alike = file_of(wanted, folder).name.rpartition("-")[0]
    files = (folder or user_folder()).glob(f"{alike}-*.json")
    for path in sorted(files, key=lambda file: file.stat().st_mtime_ns, reverse=True):
        served, kept = _read(path)
        if replace(served, engine_version="") == wanted:
            return served, kept
    return None
