from dataclasses import replace
from math import log

import pytest

from objectives import Load, Measurement, Request, RequestResult, Workload
from runners.simulated.calibration import (
    Calibration,
    Parameters,
    Probe,
    calibrated,
    learn,
    learn_from_steps,
    predict,
    prior,
    prior_of_fit,
    rows_of,
)
from runners.simulated.calibration.probes import errors, held_out, twin
from search_spaces.vllm import default_config, vllm_space
from tests.runners.simulated.calibration.conftest import logged, traffic
from tests.runners.simulated.calibration.test_parameters import LLAMA, STEPS, ms

TRUTH = Parameters(decode_factor=1.5, prefill_factor=0.8, host_ms=2.0, api_ms=25.0)
TTFT, TPOT = "mean_ttft_ms", "mean_tpot_ms"


def probe_at(prefill_ms: float, decode_ms: float, *, wrong: float = 0.0) -> Probe:
    """An engine of one request whose two steps are known; observed ``wrong`` (log) too slow."""

    def run(parameters: Parameters) -> Measurement:
        first_ms = parameters.prefill_factor * prefill_ms + parameters.host_ms
        other_ms = parameters.decode_factor * decode_ms + parameters.host_ms
        result = RequestResult(0.0, 8, 2, first_ms, first_ms + other_ms)
        return Measurement(results=(result,), duration_s=1.0, gpus=1)

    true = predict(Probe(run, {}), TRUTH)
    observed = {name: (true[name] or 0) * (1 + wrong) for name in (TTFT, TPOT)}
    return Probe(run, observed)


def many(number: int) -> list[Probe]:
    """From 10 to 500 ms a prompt, 5 to 50 ms a token, every second measured 3 % slow or fast."""
    wrong = [0.0, 0.03, 0.0, -0.03]
    return [
        probe_at(10 * 50 ** (i / number), 5 * 10 ** (i / number), wrong=wrong[i % 4])
        for i in range(number)
    ]


def test_one_probe_leaves_what_it_cannot_tell_apart_to_the_prior() -> None:
    before = prior(1)
    after = learn([probe_at(50.0, 10.0)], before)
    # TTFT is prefill, host and API together: the sum is learnt, its parts stay near the prior.
    assert after.parameters.prefill_factor == pytest.approx(1.12, rel=0.15)
    assert after.standard_errors["prefill_factor"] > 0.7 * before.standard_errors["prefill_factor"]
    assert after.standard_errors["host_ms"] > 0.7 * before.standard_errors["host_ms"]


def test_one_probe_far_from_the_prior_does_not_outweigh_it_but_widens_what_is_left() -> None:
    after = learn([probe_at(50.0, 10.0, wrong=1.0)], prior(1))
    assert 1.12 < after.parameters.decode_factor < 1.12 + 2 * 0.14
    assert after.tpot_sd > 0.3


def test_many_probes_outweigh_the_prior() -> None:
    after = learn(many(24), prior(1))
    at, spread = after.parameters, after.standard_errors
    assert at.decode_factor == pytest.approx(TRUTH.decode_factor, rel=0.05)
    assert at.prefill_factor == pytest.approx(TRUTH.prefill_factor, rel=0.08)
    assert at.host_ms == pytest.approx(TRUTH.host_ms, abs=0.8)
    assert at.api_ms == pytest.approx(TRUTH.api_ms, abs=3.0)
    assert spread["decode_factor"] < 0.05
    assert after.tpot_sd < 0.05


def test_one_probe_that_is_ten_times_off_does_not_bend_what_the_others_say() -> None:
    bent = learn([*many(24), probe_at(80.0, 12.0, wrong=9.0)], prior(1))
    assert bent.parameters.decode_factor == pytest.approx(TRUTH.decode_factor, rel=0.08)


def test_what_probes_scatter_beyond_the_parameters_widens_the_residual() -> None:
    wrong = [0.4, -0.3] * 12
    rough = [probe_at(20.0 + i, 10.0 + i, wrong=w) for i, w in enumerate(wrong)]
    assert learn(rough, prior(1)).tpot_sd > 0.25


def test_a_probe_held_out_is_predicted_by_the_others() -> None:
    probes = many(12)
    odd = probe_at(60.0, 20.0, wrong=0.5)
    after, others = held_out([*probes, odd], prior(1))
    assert after == learn([*probes, odd], prior(1))
    expected = learn(probes, prior(1)).parameters
    assert others[-1].decode_factor == pytest.approx(expected.decode_factor, rel=0.03)
    assert errors(odd, others[-1])[TPOT] == pytest.approx(log(1.5), abs=0.06)


def test_percentiles_teach_no_parameter_but_how_far_off_they_are() -> None:
    plain = many(12)
    slow_tails = [
        replace(p, observed={**p.observed, "p95_tpot_ms": 2 * (p.observed[TPOT] or 0)})
        for p in plain
    ]
    calm, rough = learn(plain, prior(1)), learn(slow_tails, prior(1))
    assert rough == replace(calm, tpot_tail_sd=rough.tpot_tail_sd)
    assert (calm.tpot_tail_sd, rough.tpot_tail_sd > 0.5) == (0.05, True)


def test_nothing_to_compare_is_refused() -> None:
    with pytest.raises(ValueError, match="must have observed one of"):
        learn([replace(probe_at(1.0, 1.0), observed={TTFT: None})], prior(1))
    with pytest.raises(ValueError, match="must have observed one of"):
        learn([], prior(1))


def test_the_api_is_seen_in_the_first_token_and_not_in_those_after_it() -> None:
    probe = probe_at(50.0, 10.0)
    without = predict(probe, replace(TRUTH, api_ms=0.0))
    found = predict(probe, TRUTH)
    assert found[TTFT] == (without[TTFT] or 0) + 25.0
    assert found["mean_e2el_ms"] == (without["mean_e2el_ms"] or 0) + 25.0
    assert found[TPOT] == pytest.approx(without[TPOT])


def test_the_simulated_engine_itself_is_learnt_from() -> None:
    config = default_config(vllm_space(LLAMA))
    probes = []
    for concurrency in (1, 16, 64):
        requests = tuple(Request(0.0, 1024, 128) for _ in range(4 * concurrency))
        workload = Workload(name="t", requests=requests, concurrency=concurrency)
        run = twin(config, Load(workload=workload), STEPS, blocks=27_000)
        probes.append(Probe(run, predict(Probe(run, {}), TRUTH)))
    after = learn(probes, prior(1))
    assert after.parameters.decode_factor == pytest.approx(1.5, rel=0.12)
    found, wanted = predict(probes[1], after.parameters), probes[1].observed
    assert found[TPOT] == pytest.approx(wanted[TPOT], rel=0.03)
    assert found[TTFT] == pytest.approx(wanted[TTFT], rel=0.06)


def test_a_step_log_tells_a_known_models_factors() -> None:
    slower = calibrated(STEPS, TRUTH)
    counts = traffic(1500)
    times_ms = [ms(slower, count) for count in counts]
    after = learn_from_steps(STEPS, rows_of(logged(counts, times_ms)), prior(1))
    at = after.parameters
    assert at.decode_factor == pytest.approx(TRUTH.decode_factor, rel=0.02)
    assert at.prefill_factor == pytest.approx(TRUTH.prefill_factor, rel=0.03)
    assert at.host_ms == pytest.approx(TRUTH.host_ms, abs=0.3)
    assert (at.api_ms, after.steps, after.probes) == (10.0, 1480, 0)


def test_larger_shards_are_expected_to_wait_longer_for_their_host() -> None:
    waits = [prior(size).parameters.host_ms for size in (1, 2, 4, 8)]
    assert waits == [0.0, 0.0, 0.0, 0.7]
    assert isinstance(prior_of_fit(), Calibration)
    assert prior_of_fit().parameters == Parameters(api_ms=10.0)
