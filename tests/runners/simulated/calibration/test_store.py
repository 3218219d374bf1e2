import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runners.simulated.calibration import Kept, Served, fit, latest, load, prior, save
from runners.simulated.calibration.store import file_of, user_folder
from runners.step_log import Step
from tests.runners.simulated.calibration.test_fitted import true_ms

SERVED = Served(
    gpu="h100_sxm", model="org/Llama 8B", engine_version="0.32.0", tensor_parallel_size=2
)
LEARNT = replace(prior(2), probes=3, steps=900, kv_offset_tokens=-1234)


def test_a_calibration_survives_a_round_trip(tmp_path: Path) -> None:
    path = save(Kept(LEARNT), SERVED, tmp_path / "new")
    assert path.name.startswith("h100-sxm-llama-8b-tp2-")
    assert load(SERVED, tmp_path / "new") == Kept(LEARNT)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_fitted_steps_survive_it_too(
    tmp_path: Path, log_of: Callable[..., tuple[Step, ...]]
) -> None:
    fitted = fit(log_of(true_ms))
    save(Kept(LEARNT, fitted), SERVED, tmp_path)
    found = load(SERVED, tmp_path)
    assert found is not None
    assert found.fitted is not None
    assert found.calibration == LEARNT
    assert found.fitted.coefficients == fitted.coefficients
    assert found.fitted.standard_errors == fitted.standard_errors
    assert found.fitted.uncertainty == fitted.uncertainty


@pytest.mark.parametrize(
    "other",
    [
        {"gpu": "h200_sxm"},
        {"model": "org/llama-8b"},
        {"engine_version": "0.33.0"},
        {"tensor_parallel_size": 4},
    ],
)
def test_it_says_nothing_of_anything_else(tmp_path: Path, other: dict[str, Any]) -> None:
    save(Kept(LEARNT), SERVED, tmp_path)
    assert load(replace(SERVED, **other), tmp_path) is None


def tampered(path: Path, *place: str | int, value: object) -> None:
    content = at = json.loads(path.read_text())
    for key in place[:-1]:
        at = at[key]
    at[place[-1]] = value
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("paretune_calibration",), 2, "version 2 instead of 1"),
        (("of", "gpu"), "l4", "is of Served"),
        (("calibration", "mean"), [0.0], "4 values were expected"),
        (("calibration", "mean", 0), "fast", "'fast' is not a number"),
        (("calibration", "mean", 0), float("nan"), "NaN is no number in JSON"),
        (("calibration", "mean", 0), -50.0, "below what they can be"),
        (("calibration", "mean", 1), 50.0, "above what they can be"),
        (("calibration", "covariance", 0, 1), 5.0, "not symmetric"),
        (("calibration", "covariance", 2, 2), -1.0, "negative variance|not symmetric"),
        (("calibration", "ttft_sd"), -0.1, "out of range"),
        (("calibration", "ttft_sd"), 1e6, "out of range"),
        (("calibration", "mean", 2), 1e6, "above what they can be"),
        (("calibration", "mean", 2), 10**400, "too large to convert"),
        (("calibration", "probes"), 1.5, "no count"),
        (("calibration",), [], "list indices"),
        (("fitted",), {}, "coefficients"),
    ],
)
def test_a_file_that_somebody_changed_is_refused(
    tmp_path: Path, place: tuple[str | int, ...], value: object, said: str
) -> None:
    path = save(Kept(LEARNT), SERVED, tmp_path)
    tampered(path, *place, value=value)
    with pytest.raises(ValueError, match=said) as error:
        load(SERVED, tmp_path)
    assert "delete it, or calibrate again" in str(error.value)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b" " * 2_000_000])
def test_a_file_that_is_no_calibration_is_refused(tmp_path: Path, content: bytes) -> None:
    file_of(SERVED, tmp_path).write_bytes(content)
    with pytest.raises(ValueError, match="is no calibration of this version"):
        load(SERVED, tmp_path)


def test_the_users_data_folder_is_the_one_the_environment_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert user_folder() == tmp_path / "paretune" / "calibration"
    monkeypatch.setenv("XDG_DATA_HOME", "relative")  # to be ignored, says the specification
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_folder() == tmp_path / ".local" / "share" / "paretune" / "calibration"


def test_the_last_kept_of_any_engine_version_is_found(tmp_path: Path) -> None:
    older = save(Kept(LEARNT), SERVED, tmp_path)
    os.utime(older, (1, 1))
    newer = replace(SERVED, engine_version="0.33.0")
    save(Kept(prior(2)), newer, tmp_path)
    save(Kept(prior(4)), replace(SERVED, tensor_parallel_size=4), tmp_path)
    assert latest("h100_sxm", "org/Llama 8B", 2, tmp_path) == (newer, Kept(prior(2)))
    assert latest("h100_sxm", "else/Llama 8B", 2, tmp_path) is None
    assert latest("h100_sxm", "org/Llama 8B", 2, tmp_path / "none") is None
