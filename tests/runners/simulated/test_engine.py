"""Engines that real ones taught, and how sure they are."""

from dataclasses import replace
from math import log
from typing import Any

import numpy as np
import pytest

from objectives import Load, Measurement, Request, Workload
from runners import EngineError, Failure, FailureKind
from runners.simulated import SimulatedRunner
from runners.simulated.calibration import Kept, Served, prior
from runners.simulated.catalogue import gpu, model
from search_spaces import Config, Deployment
from search_spaces.vllm import default_config, kv_tokens, vllm_space
from tests.runners.simulated.calibration.conftest import FITTED

ONE = Deployment(
    model=model("meta-llama/Llama-3.2-3B-Instruct"), gpu=gpu("l4"), gpus=1, max_model_len=2048
)
TWO = replace(ONE, gpus=2)
SERVED = Served(
    gpu="l4",
    model="meta-llama/Llama-3.2-3B-Instruct",
    engine_version="0.32.0",
    tensor_parallel_size=1,
)
ALONE = Load(workload=Workload(name="t", requests=(Request(0.0, 300, 20),)))


def taught(**changes: Any) -> Kept:
    """Steps take 1.25 times as long, and every request 10 ms more."""
    quarter = log(1.25)
    exact = replace(prior(1), mean=(quarter, quarter, 0.0, 10.0), ttft_sd=0.12, tpot_sd=0.05)
    exact = replace(exact, probes=20, steps=7000)
    return Kept(replace(exact, **changes))


def config(deployment: Deployment = ONE, **settings: Any) -> Config:
    space = vllm_space(deployment)
    chosen = {**default_config(space), **settings}
    return {**chosen, **space.derive(chosen)}


def measured(kept: Kept | None = None) -> Measurement:
    calibrations = {} if kept is None else {1: (SERVED, kept)}
    runner = SimulatedRunner(ONE, calibrations=calibrations)
    with runner.launch(config()) as engine:
        return engine.measure(ALONE)


def test_a_taught_engine_takes_as_much_longer_as_real_ones_did() -> None:
    plain, slower = measured().results[0], measured(taught()).results[0]
    assert slower.ttft_ms == pytest.approx(1.25 * (plain.ttft_ms or 0) + 10)
    assert slower.tpot_ms == pytest.approx(1.25 * (plain.tpot_ms or 0))


def test_it_holds_the_kv_tokens_that_real_ones_were_seen_to_hold() -> None:
    short = 16 - kv_tokens(ONE, config())
    runner = SimulatedRunner(ONE, calibrations={1: (SERVED, taught(kv_offset_tokens=short))})
    with pytest.raises(EngineError) as caught, runner.launch(config()):
        pass
    assert caught.value.failure == Failure(
        FailureKind.DOES_NOT_FIT,
        "the KV cache would hold 16 tokens, but one request needs 2048",
    )


def test_it_says_at_which_sizes_it_was_taught_and_by_how_much() -> None:
    about = SimulatedRunner(TWO, calibrations={1: (SERVED, taught())}).description
    plain = SimulatedRunner(TWO).description
    assert about.uncertainty == (
        "at tensor_parallel_size 1 calibrated on 20 trials and 7000 steps of vLLM 0.32.0: mean "
        "TTFT within 12 %, mean TPOT within 5 % (one standard deviation); at "
        f"tensor_parallel_size 2 {plain.uncertainty}"
    )


def test_intervals_hold_the_prediction_and_are_wider_where_nothing_was_learnt() -> None:
    known = tuple(map(tuple, (1e-6 * np.eye(4)).tolist()))
    sure = replace(taught().calibration, covariance=known)
    widths = []
    for kept in (Kept(sure), None):
        calibrations = {1: (SERVED, kept)} if kept else {}
        with SimulatedRunner(ONE, calibrations=calibrations).launch(config()) as engine:
            found = engine.intervals(ALONE, also=["p92_ttft_ms"])
            value = engine.measure(ALONE).metric("p92_ttft_ms")
        assert found["p92_ttft_ms"].value == value
        assert found["p92_ttft_ms"].low <= value < found["p92_ttft_ms"].high
        widths.append(found["mean_tpot_ms"].high / found["mean_tpot_ms"].low)
    taught_width, plain_width = widths
    assert taught_width < 1.25 < plain_width


def test_steps_fitted_to_a_log_are_taken_instead_of_the_models() -> None:
    kept = replace(taught(mean=(0.0, 0.0, 0.0, 0.0)), fitted=FITTED)
    assert measured(kept).results[0].tpot_ms == pytest.approx(5.6)


def test_steps_fitted_to_plain_weights_say_nothing_of_quantised_ones() -> None:
    kept = replace(taught(), fitted=FITTED)
    runner = SimulatedRunner(ONE, calibrations={1: (SERVED, kept)})
    with pytest.raises(EngineError) as caught, runner.launch(config(quantization="int8")):
        pass
    assert caught.value.failure == Failure(
        FailureKind.REFUSED,
        "its steps are fitted to an engine that quantised neither weights nor KV cache",
    )


def test_what_plain_weights_taught_is_less_sure_of_quantised_ones() -> None:
    known = tuple(map(tuple, (1e-6 * np.eye(4)).tolist()))
    sure = Kept(replace(taught().calibration, covariance=known))
    runner = SimulatedRunner(ONE, calibrations={1: (SERVED, sure)})
    widths = []
    for kind in ("none", "fp8"):
        with runner.launch(config(quantization=kind)) as engine:
            found = engine.intervals(ALONE)["mean_tpot_ms"]
        widths.append(found.high / found.low)
    assert widths[0] < 1.25 < widths[1]


def test_a_log_alone_promises_no_accuracy() -> None:
    steps_alone = taught(probes=0)
    about = SimulatedRunner(ONE, calibrations={1: (SERVED, steps_alone)}).description
    assert about.uncertainty == (
        "at tensor_parallel_size 1 calibrated on 7000 steps of vLLM 0.32.0, and on no trial"
    )


def test_an_engine_tells_how_much_of_the_hardware_it_used() -> None:
    engine = measured().engine
    assert 0 < engine["mfu"] < engine["mbu"] < 1
    assert engine["communication_share"] == 0.0
