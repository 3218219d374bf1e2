import re
from types import SimpleNamespace
from typing import Any

import pytest

from runners.simulated import catalogue
from tuner import doctor
from tuner.cli import main


def owned_by(*owners: str) -> Any:
    """Scripts named ``tune`` of these distributions."""

    def entry_points(**chosen: str) -> list[Any]:
        assert chosen == {"group": "console_scripts", "name": "tune"}
        return [SimpleNamespace(dist=SimpleNamespace(name=owner)) for owner in owners]

    return entry_points


def test_a_sound_installation_is_reported_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "entry_points", owned_by("paretune"))
    lines, healthy = doctor.report()
    assert healthy
    assert lines[0].startswith("Python 3.")
    assert re.fullmatch(r"paretune \d+\.\d+\.\d+.*", lines[1])
    assert any(line.startswith("`tune` is ours (") for line in lines)


def test_an_engine_command_that_is_not_there_is_told_in_place_of_a_version() -> None:
    lines, healthy = doctor.report("/nowhere/vllm")
    assert healthy
    assert lines[-1].startswith("vLLM: There is no /nowhere/vllm: ")


def test_every_simulated_gpu_is_listed_once() -> None:
    lines, _ = doctor.report()
    listed = [line.partition(": ")[2] for line in lines if line.startswith("Simulated GPUs by ")]
    names = [name for line in listed for name in line.split(", ") if name != "none"]
    assert sorted(names) == sorted(gpu.name for gpu in catalogue.gpus())


@pytest.mark.parametrize(
    ("owners", "claimed"), [(("paretune", "ray"), "paretune, ray"), ((), "nobody")]
)
def test_a_command_that_is_not_ours_alone_is_told(
    owners: tuple[str, ...], claimed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "entry_points", owned_by(*owners))
    monkeypatch.setattr("shutil.which", lambda command, path=None: None)
    lines, healthy = doctor.report()
    assert not healthy
    assert (
        f"`tune` is claimed by {claimed} (not on PATH); use `paretune` or `python -m tuner`, "
        "which do the same"
    ) in lines


def test_a_package_of_another_distribution_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_ours", lambda name: name != "results")
    lines, healthy = doctor.report()
    assert not healthy
    assert (
        "Packages of another distribution shadow ours: results; install paretune in its own "
        "environment."
    ) in lines


def test_what_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PACKAGES", ("no-such-distribution",))
    monkeypatch.setattr(doctor, "EXTRAS", ("no_such_module",))
    lines, _ = doctor.report()
    assert "no-such-distribution not installed" in lines
    assert "Optional packages present: none" in lines


@pytest.mark.parametrize(("healthy", "status"), [(True, 0), (False, 2)])
def test_the_exit_status_tells_whether_all_is_well(
    healthy: bool,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(doctor, "report", lambda command: (["one", "two"], healthy))
    with pytest.raises(SystemExit) as left:
        main(["doctor"])
    assert (left.value.code, capsys.readouterr()) == (status, ("one\ntwo\n", ""))
