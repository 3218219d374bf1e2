"""Bounds below one decode step: refused before anything is launched, and no others."""

import os
from dataclasses import replace
from math import log
from pathlib import Path
from typing import Any

import pytest

from runners import gpus
from runners.simulated import SimulatedRunner
from runners.simulated.calibration import Kept, Served, prior, save
from runners.simulated.catalogue import gpu, model
from search_spaces import Config, Deployment
from search_spaces.vllm import vllm_space
from tests.tuner.test_bad_input import said
from tests.tuner.test_measure import measured
from tuner.decode_floor import read_ms
from tuner.errors import BadInput
from tuner.options import Options
from tuner.spec import resolve

LLAMA = "meta-llama/Llama-3.1-8B-Instruct"
ON_L4 = Deployment(model=model(LLAMA), gpu=gpu("l4"), gpus=2, max_model_len=512)
SHARDED = vllm_space(ON_L4).within({"tensor_parallel_size": 2})
SIMULATED: dict[str, Any] = {
    "objective": "chat",
    "gpu": "l4",
    "gpus": 2,
    "input_tokens": 200,
    "output_tokens": 20,
    "requests": 60,
}
REAL: dict[str, Any] = {k: v for k, v in SIMULATED.items() if k != "gpu"} | {"engine": "vllm"}
WAYS = "raise the bound, take a faster GPU or a smaller model."


def refusal(options: dict[str, Any], **more: Any) -> str | None:
    """Why a study is refused; ``None``: it is not."""
    try:
        resolve(Options(**options, **more))
    except BadInput as error:
        return str(error)
    return None


@pytest.fixture
def on_h100(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with vLLM and two GPUs, of which nothing can be launched."""
    command = tmp_path / "vllm"
    command.write_text('#!/bin/sh\ncase "$*" in *--version*) echo 0.32.0 ;; *) exit 1 ;; esac\n')
    command.chmod(0o755)
    monkeypatch.setenv("PARETUNE_VLLM", os.fspath(command))
    there = [gpus.Gpu(index=i, uuid=f"GPU-{i}", name="H100", memory_gib=80) for i in range(2)]
    monkeypatch.setattr(gpus, "find_gpus", lambda: gpus.Gpus(tuple(there), ""))


@pytest.mark.parametrize("command", ["", "plan ", "measure "])
def test_a_bound_below_one_decode_step_is_refused(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = "--objective api --gpu l4 --gpus 2 --sla p95_tpot_ms<=20"
    assert said(f"{command}{asked}", capsys) == (
        f"`p95_tpot_ms<=20` cannot be kept: one decode step of {LLAMA} on l4 takes at least "
        f"32.1 ms (tensor_parallel_size 2); {WAYS}"
    )


def test_the_floor_is_the_time_between_tokens_of_one_request_alone() -> None:
    floor_ms = SimulatedRunner(ON_L4).decode_step_ms(SHARDED, 200)
    alone = {"request_rate": None, "concurrency": 1, "output_tokens": 2}
    found = measured(**{**SIMULATED, **alone, "set": ["tensor_parallel_size=2"]})
    assert found["metrics"]["mean_tpot_ms"] == pytest.approx(floor_ms)
    for metric in ("p95_tpot_ms", "median_tpot_ms", "mean_tpot_ms", "mean_itl_ms"):
        assert refusal(SIMULATED, sla=f"{metric}<={0.999 * floor_ms}") is not None
        assert refusal(SIMULATED, sla=f"{metric}<={1.001 * floor_ms}") is None


def test_an_answer_ends_no_sooner_than_its_steps() -> None:
    floor_ms = 19 * SimulatedRunner(ON_L4).decode_step_ms(SHARDED, 200)
    assert refusal(SIMULATED, sla="p95_e2el_ms<=400") == (
        f"`p95_e2el_ms<=400` cannot be kept: one decode step of {LLAMA} on l4 takes at least "
        "32 ms (tensor_parallel_size 2), so that no answer of more than 13 tokens ends in 400 ms; "
        "raise the bound, ask for shorter answers, take a faster GPU or a smaller model."
    )
    assert refusal(SIMULATED, sla=f"mean_e2el_ms<={0.999 * floor_ms}") is not None
    assert refusal(SIMULATED, sla=f"mean_e2el_ms<={1.001 * floor_ms}") is None


def test_a_percentile_leaves_out_as_many_long_answers_as_it_says(tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    answers = [2] * 90 + [100] * 10
    rows = "".join(f"{n},200,{tokens}\n" for n, tokens in enumerate(answers))
    trace.write_text(f"arrival_s,input_tokens,output_tokens\n{rows}")
    asked = {"objective": "chat", "gpu": "l4", "gpus": 2, "workload": trace}
    assert refusal(asked, sla="p90_e2el_ms<=200") is None
    assert refusal(asked, sla="p95_e2el_ms<=200") is not None


def test_no_config_is_faster_than_those_that_may_be_tried() -> None:
    sla = "p95_tpot_ms<=50"
    assert refusal(SIMULATED, sla=sla) is None
    assert refusal(SIMULATED, sla=sla, set=["tensor_parallel_size=1"]) == (
        f"`p95_tpot_ms<=50` cannot be kept: one decode step of {LLAMA} on l4 takes at least "
        f"62.3 ms (tensor_parallel_size 1); {WAYS}"
    )
    lossy = {"range": ["quantization=none,fp8"], "allow_lossy": True}
    assert refusal(SIMULATED, sla=sla, set=["tensor_parallel_size=1"], **lossy) is None


@pytest.mark.parametrize(
    "sla", ["p95_ttft_ms<=1", "output_throughput>=1e9", "request_throughput>=1e6"]
)
def test_other_bounds_have_no_such_floor(sla: str) -> None:
    assert refusal(SIMULATED, sla=sla) is None


def test_answers_of_one_token_have_no_time_between_tokens() -> None:
    assert refusal({**SIMULATED, "output_tokens": 1}, sla="p95_tpot_ms<=1") is None


def test_of_speculation_no_floor_is_known() -> None:
    speculating = {"set": ["speculative_config=ngram"], "acceptance_rate": 0.7}
    assert refusal(SIMULATED, sla="p95_tpot_ms<=20", **speculating) is None
    perhaps = {"range": ["speculative_config=none,ngram"], "acceptance_rate": 0.7}
    assert refusal(SIMULATED, sla="p95_tpot_ms<=20", **perhaps) is None


def test_a_taught_engine_has_the_steps_it_was_taught() -> None:
    sla = "p95_tpot_ms<=40"
    assert refusal(SIMULATED, sla=sla) is None
    for size in (1, 2):
        slower = replace(prior(size), mean=(log(1.5), log(1.5), 0.0, 10.0))
        served = Served(gpu="l4", model=LLAMA, engine_version="9", tensor_parallel_size=size)
        save(Kept(slower), served)
    assert refusal(SIMULATED, sla=sla) == (
        f"`p95_tpot_ms<=40` cannot be kept: one decode step of {LLAMA} on l4 takes at least "
        f"48.1 ms (tensor_parallel_size 2); {WAYS}"
    )
    assert refusal(SIMULATED, sla=sla, calibration="off") is None


@pytest.mark.usefixtures("on_h100")
def test_a_real_engine_at_least_reads_its_weights_once_a_step() -> None:
    # (6.98e9 parameters in its layers + 0.53e9 in its LM head) x 2 bytes / (2 x 3.35 TB/s)
    assert refusal(REAL, sla="p95_tpot_ms<=2.2") == (
        f"`p95_tpot_ms<=2.2` cannot be kept: one decode step of {LLAMA} on h100_sxm takes at "
        f"least 2.24 ms (tensor_parallel_size 2); {WAYS}"
    )
    assert refusal(REAL, sla="p95_tpot_ms<=2.3") is None
    speculating = ["speculative_config=ngram"]
    assert refusal(REAL, sla="p95_tpot_ms<=2.2", set=speculating) is None


def config(**settings: int | str) -> Config:
    return {"tensor_parallel_size": 1, "quantization": "none", **settings}


def test_weights_are_read_at_the_bandwidth_of_the_data_sheet() -> None:
    on = replace(ON_L4, gpu=gpu("h100"))
    weight_bytes = 2 * 6_979_321_856 + 2 * 4096 * 128256
    one_ms = weight_bytes / 3.35e12 * 1000
    assert read_ms(on, config()) == pytest.approx(one_ms)
    assert read_ms(on, config(tensor_parallel_size=2)) == pytest.approx(one_ms / 2)
    quantised_bytes = weight_bytes - 6_979_321_856
    assert read_ms(on, config(quantization="fp8")) == pytest.approx(quantised_bytes / 3.35e9)


def test_of_experts_only_those_of_one_token_are_read() -> None:
    mixtral = model("mistralai/Mixtral-8x7B-Instruct-v0.1")
    on = Deployment(model=mixtral, gpu=gpu("h100"), gpus=1, max_model_len=512)
    read_bytes = 2 * mixtral.active_parameters + mixtral.embedding_bytes
    assert read_ms(on, config()) == pytest.approx(read_bytes / 3.35e9)


@pytest.mark.usefixtures("on_h100")
def test_of_a_gpu_of_which_only_the_memory_is_known_nothing_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    unlisted = gpus.Gpu(index=0, uuid="GPU-0", name="Some New GPU", memory_gib=200)
    monkeypatch.setattr(gpus, "find_gpus", lambda: gpus.Gpus((unlisted,), ""))
    assert refusal({**REAL, "gpus": 1}, sla="p95_tpot_ms<=0.001") is None
