"""Simulated studies on what real engines taught: found when a study begins, kept with it."""

import json
from dataclasses import replace
from math import log
from pathlib import Path
from typing import Any

import pytest

from runners.simulated.calibration import Kept, Served, prior, save
from tests.runners.simulated.calibration.conftest import FITTED
from tests.tuner.conftest import QUICK, Tune
from tuner.errors import BadInput, EngineTrouble
from tuner.make_model import make_model
from tuner.measure import measure
from tuner.options import Options
from tuner.spec import differences, resolve

SERVED = Served(
    gpu="l4",
    model="meta-llama/Llama-3.1-8B-Instruct",
    engine_version="0.32.0",
    tensor_parallel_size=1,
)
SLOWER = Kept(replace(prior(1), mean=(log(1.25), log(1.25), 0.0, 10.0), probes=20, steps=7000))
SMALL: dict[str, Any] = {
    "objective": "chat",
    "gpu": "l4",
    "gpus": 1,
    "requests": 60,
    "request_rate": 0.5,
    "input_tokens": 200,
    "output_tokens": 20,
    "sla": "p95_tpot_ms<=90",
}


def tpot_ms(**options: Any) -> float:
    found: float = measure(Options(**{**SMALL, **options}))["metrics"]["mean_tpot_ms"]
    return found


def test_what_was_learnt_of_a_model_on_a_gpu_is_used_unless_told_otherwise() -> None:
    plain = tpot_ms()
    save(SLOWER, SERVED)
    assert tpot_ms() == pytest.approx(1.25 * plain, rel=0.01)
    assert tpot_ms(calibration="off") == plain
    assert tpot_ms(gpu="l40s") == tpot_ms(gpu="l40s", calibration="off")


def test_a_damaged_calibration_is_refused_with_what_to_do() -> None:
    path = save(SLOWER, SERVED)
    path.write_text("{}")
    with pytest.raises(BadInput) as caught:
        tpot_ms()
    assert str(caught.value) == (
        f"{path} is no calibration of this version ('of'); delete it, or calibrate again. "
        "(--calibration off does without.)"
    )


def test_a_study_goes_on_with_what_it_began_with(tune: Tune, tmp_path: Path) -> None:
    kept = save(SLOWER, SERVED)
    folder = tmp_path / "study"
    assert tune(*QUICK, "--trials=2", f"--output={folder}").status == 0
    summary = json.loads((folder / "summary.json").read_text())
    kept.unlink()
    again = tune("resume", str(folder), "--json")
    assert json.loads(again.out)["best"] == summary["best"]
    assert "calibrated on 20 trials" in summary["uncertainty"]


def test_this_machines_cpu_is_simulated_once_an_engine_on_it_has_taught_how() -> None:
    asked = {"gpu": "cpu", "model": "llama-3.2-1b"}
    with pytest.raises(BadInput) as caught:
        tpot_ms(**asked)
    assert str(caught.value) == (
        "Nobody knows how long steps of meta-llama/Llama-3.2-1B-Instruct take on this CPU; a "
        "study with --engine vllm teaches it, or `tune calibrate` from one."
    )
    on_cpu = replace(SERVED, gpu="cpu", model="meta-llama/Llama-3.2-1B-Instruct")
    save(Kept(replace(prior(1), mean=(0.0, 0.0, 0.0, 0.0)), FITTED), on_cpu)
    assert tpot_ms(**asked) == pytest.approx(5.6, rel=0.01)


def test_of_a_cpu_that_was_taught_one_size_the_others_are_refused() -> None:
    on_cpu = replace(SERVED, gpu="cpu", model="meta-llama/Llama-3.2-1B-Instruct")
    save(Kept(replace(prior(1), mean=(0.0, 0.0, 0.0, 0.0)), FITTED), on_cpu)
    asked = {"gpu": "cpu", "gpus": 2, "model": "llama-3.2-1b"}
    assert tpot_ms(**asked, set=["tensor_parallel_size=1"]) == pytest.approx(5.6, rel=0.01)
    with pytest.raises(EngineTrouble, match="at tensor_parallel_size 2 nobody has learnt yet"):
        tpot_ms(**asked, set=["tensor_parallel_size=2"])


def test_a_model_folder_is_the_same_however_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_model(tmp_path / "tiny")
    save(SLOWER, replace(SERVED, model=str(tmp_path / "tiny")))
    monkeypatch.chdir(tmp_path)
    assert tpot_ms(model="./tiny") > 1.2 * tpot_ms(model="./tiny", calibration="off")


def test_learning_alone_makes_no_other_study_of_it() -> None:
    spec, _ = resolve(Options(**SMALL))
    save(SLOWER, SERVED)
    again, _ = resolve(Options(**SMALL))
    assert again.target.calibrations != spec.target.calibrations
    assert differences(spec, again) == []
