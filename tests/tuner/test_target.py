"""Which engine a study gets, and which options and arguments it is refused with."""

import os
from pathlib import Path

import pytest

from runners import gpus
from search_spaces.vllm import default_config
from tests.tuner.conftest import Tune
from tuner.answer import best_files
from tuner.errors import BadInput
from tuner.make_model import make_model
from tuner.options import Options
from tuner.spec import from_json, problem_of, resolve, space_of, to_json
from tuner.target import engine_of, target

VLLM = """#!/bin/sh
case "$*" in
    *--version*) echo 0.32.0+cpu ;;
    *) exit 1 ;;
esac
"""
"""A CPU build that cannot be asked for its flags."""
GPU = gpus.Gpu(index=0, uuid="GPU-0", name="NVIDIA H100 80GB HBM3", memory_gib=79.6)
MEASURED = {"goal": {"metric": "capacity", "value": 1.0}, "loads": {"offered": {}}}
TRAFFIC = ("--objective=chat", "--input-tokens=30", "--output-tokens=8", "--concurrency=2")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No vLLM is found by itself, and no GPU."""
    monkeypatch.delenv("PARETUNE_VLLM", raising=False)
    monkeypatch.setenv("PATH", os.fspath(tmp_path / "bin"))
    monkeypatch.setattr("sys.executable", os.fspath(tmp_path / "bin" / "python"))
    monkeypatch.setattr(gpus, "find_gpus", lambda: gpus.Gpus((), "There is none."))


@pytest.fixture
def vllm(tmp_path: Path) -> str:
    command = tmp_path / "vllm"
    command.write_text(VLLM)
    command.chmod(0o755)
    return str(command)


@pytest.fixture
def tiny(tmp_path: Path) -> str:
    make_model(tmp_path / "tiny")
    return str(tmp_path / "tiny")


@pytest.fixture
def on_path(tmp_path: Path, vllm: str) -> None:
    (tmp_path / "bin").mkdir()
    Path(vllm).rename(tmp_path / "bin" / "vllm")


@pytest.fixture
def a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "find_gpus", lambda: gpus.Gpus((GPU,)))


def test_auto_is_simulated_where_there_is_nothing() -> None:
    assert engine_of(Options()) == "simulated"


@pytest.mark.usefixtures("on_path")
def test_auto_is_simulated_where_there_is_vllm_but_no_gpu() -> None:
    assert engine_of(Options()) == "simulated"


@pytest.mark.usefixtures("a_gpu")
def test_auto_is_simulated_where_there_is_a_gpu_but_no_vllm() -> None:
    assert engine_of(Options()) == "simulated"


@pytest.mark.usefixtures("a_gpu", "on_path")
def test_auto_is_vllm_where_there_are_both() -> None:
    assert engine_of(Options()) == "vllm"


@pytest.mark.usefixtures("a_gpu", "on_path")
def test_auto_simulates_a_gpu_that_is_named() -> None:
    assert engine_of(Options(gpu="l4")) == "simulated"


def test_auto_is_what_the_options_belong_to() -> None:
    found = [engine_of(Options(url="http://x")), engine_of(Options(engine_command="vllm"))]
    assert found == ["openai", "vllm"]


@pytest.mark.parametrize(
    ("options", "owner", "engine"),
    [
        ("--engine simulated --engine-command vllm", "--engine-command is for --engine vllm", ""),
        ("--engine vllm --url http://x", "--url is for --engine openai", "vllm"),
        ("--engine vllm --api-key-env KEY", "--api-key-env is for --engine openai", "vllm"),
        ("--engine vllm --gpu l4", "--gpu is for --engine simulated", "vllm"),
        ("--url http://x --gpu l4", "--gpu is for --engine simulated", "openai"),
        ("--url http://x --engine-command v", "--engine-command is for --engine vllm", "openai"),
    ],
)
def test_an_option_of_another_engine_is_refused(
    tune: Tune, options: str, owner: str, engine: str
) -> None:
    ended = tune("--objective=chat", *options.split())
    sentence = f"tune: {owner}, but the engine is {engine or 'simulated'}.\n"
    assert (ended.status, ended.out, ended.err) == (2, "", sentence)


def test_a_cpu_build_needs_no_gpu_and_a_model_without_weights_gets_random_ones(
    vllm: str, tiny: str
) -> None:
    found = target(Options(engine="vllm", engine_command=vllm, model=tiny))
    assert (found.engine, found.hardware, found.gpus) == ("vllm", "cpu", 1)
    assert (found.model, found.command) == (tiny, f"{vllm} serve")
    assert found.arguments == {"load_format": "dummy"}


def test_a_model_with_weights_is_loaded_with_them(vllm: str, tiny: str) -> None:
    (Path(tiny) / "model.safetensors").touch()
    assert target(Options(engine="vllm", engine_command=vllm, model=tiny)).arguments == {}


def test_another_build_than_for_cpus_needs_a_gpu(vllm: str, tiny: str) -> None:
    Path(vllm).write_text(VLLM.replace("+cpu", ""))
    with pytest.raises(BadInput) as caught:
        target(Options(engine="vllm", engine_command=vllm, model=tiny))
    assert str(caught.value) == (
        "--engine vllm needs a GPU, or a CPU build of vLLM. There is none."
    )


@pytest.mark.usefixtures("a_gpu")
def test_more_gpus_than_there_are_are_refused(vllm: str, tiny: str) -> None:
    Path(vllm).write_text(VLLM.replace("+cpu", ""))
    with pytest.raises(BadInput) as caught:
        target(Options(engine="vllm", engine_command=vllm, model=tiny, gpus=2))
    assert str(caught.value) == "--gpus 2, but 1 are visible."


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        (
            "enforce_eagre=true",
            "The installed vLLM has no setting `enforce_eagre` (`enforce_eager`?): see `vllm "
            "serve --help=all`.",
        ),
        ("port=8000", "`port` is set by every launch itself; drop it."),
        ("host=0.0.0.0", "`host` is set by every launch itself; drop it."),
        ("model=gpt2", "`model` is set by every launch itself; drop it."),
        ("scheduler-cls=mine.Own", "`scheduler_cls` is set by every launch itself; drop it."),
        (
            "data_parallel_size=2",
            "`data_parallel_size` follows from tensor_parallel_size and --gpus; set those.",
        ),
    ],
)
def test_an_argument_that_is_not_the_users_to_set_is_refused(
    tune: Tune, vllm: str, tiny: str, setting: str, sentence: str
) -> None:
    ended = tune(*TRAFFIC, f"--engine-command={vllm}", f"--model={tiny}", f"--set={setting}")
    assert (ended.status, ended.out, ended.err) == (2, "", f"tune: {sentence}\n")


def asked(vllm: str, model: str, *settings: str) -> Options:
    return Options(
        objective="chat",
        engine_command=vllm,
        model=model,
        input_tokens=30,
        output_tokens=8,
        concurrency=2,
        set=list(settings),
    )


def test_an_argument_passed_on_is_in_every_config_and_in_the_exported_file(
    vllm: str, tiny: str
) -> None:
    spec, flows = resolve(asked(vllm, tiny, "enforce-eager=true", "max_num_seqs=4"))
    assert spec.target.arguments == {"load_format": "dummy", "enforce_eager": True}
    assert spec.settings == {"max_num_seqs": 4}
    problem = problem_of(spec, tuple(flow.workload for flow in flows))
    assert [config["enforce_eager"] for _, config in problem.first] == [True] * len(problem.first)
    config = default_config(space_of(spec))
    found = {"config": config, "trial": 0, "objective": "chat", **MEASURED}
    answer = {"study": "s", "hardware": {"gpu": "cpu", "gpus": 1}, "simulated": False}
    [text] = best_files({**answer, "best": {"interactive": found}}, spec, space_of(spec)).values()
    assert {"enforce-eager: true", "load-format: dummy"} <= {*text.splitlines()}


def test_what_is_passed_on_is_kept_with_the_study(vllm: str, tiny: str) -> None:
    spec, _ = resolve(asked(vllm, tiny, "enforce-eager=true", "seed=7"))
    assert from_json(to_json(spec)) == spec
