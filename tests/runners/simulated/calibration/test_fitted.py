from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from runners.simulated.calibration import FittedSteps, fit, rows_of
from runners.step_log import Step, read_step_log
from tests.runners.simulated.calibration.conftest import logged, traffic

MakeLog = Callable[..., tuple[Step, ...]]
TRUTH = {
    "step_ms": 6.0,
    "token_ms": 0.08,
    "token_ms_from_16": 0.05,
    "token_ms_from_64": 0.03,
    "token_ms_from_256": 0.02,
    "row_ms": 0.05,
    "prefill_ms": 1.5,
    "prompt_ms": 0.4,
    "prefill_pair_ms": 2e-5,
    "decode_kv_ms": 1e-4,
}
UNSEEN = [(1, 300, 500, 20, 20_000), (0, 0, 0, 40, 90_000), (2, 900, 0, 0, 0), (0, 0, 0, 1, 50)]
CPU = Path(__file__).parent / "steps_cpu.csv"


def tokens_ms(tokens: int) -> float:
    return (
        TRUTH["token_ms"] * min(tokens, 16)
        + TRUTH["token_ms_from_16"] * max(0, min(tokens, 64) - 16)
        + TRUTH["token_ms_from_64"] * max(0, min(tokens, 256) - 64)
        + TRUTH["token_ms_from_256"] * max(0, tokens - 256)
    )


def true_ms(prefills: int, tokens: int, earlier: int, decodes: int, kv: int) -> float:
    pairs = tokens * ((earlier + tokens / 2) / max(1, prefills) + 0.5)
    return (
        TRUTH["step_ms"]
        + tokens_ms(tokens + decodes)
        + TRUTH["row_ms"] * (prefills + decodes)
        + TRUTH["prefill_ms"] * (tokens > 0)
        + TRUTH["prompt_ms"] * prefills
        + TRUTH["prefill_pair_ms"] * pairs
        + TRUTH["decode_kv_ms"] * kv
    )


def worst(fitted: FittedSteps) -> float:
    """Largest share by which a step that was not in the log is off."""
    return max(abs(fitted.step_ms(*step) / true_ms(*step) - 1) for step in UNSEEN)


def test_known_coefficients_are_recovered_from_a_quiet_log(log_of: MakeLog) -> None:
    fitted = fit(log_of(true_ms))
    assert fitted.coefficients == pytest.approx(TRUTH, rel=0.01)
    assert worst(fitted) < 0.002


def test_a_noisy_log_gives_steps_within_what_it_says_of_itself(log_of: MakeLog) -> None:
    fitted = fit(log_of(true_ms, noise=0.1))
    assert fitted.linear.scatter == pytest.approx(0.1, rel=0.1)
    assert worst(fitted) < 0.04
    for step in UNSEEN:
        off_ms = abs(fitted.step_ms(*step) - true_ms(*step))
        assert off_ms < 4 * fitted.standard_error_ms(*step)


def test_first_steps_and_outliers_do_not_bend_it(log_of: MakeLog) -> None:
    def times_ms(prefills: int, tokens: int, earlier: int, decodes: int, kv: int) -> float:
        counts = (prefills, tokens, earlier, decodes, kv)
        stalls = hash(counts) % 33 == 0
        return true_ms(*counts) * (10 if stalls else 1)

    log = log_of(times_ms, noise=0.05)
    slow_start = tuple(replace(step, model_s=step.model_s + 5) for step in log[:15])
    shift_s = 15 * 5.0
    rest = tuple(replace(step, start_s=step.start_s + shift_s) for step in log[15:])
    assert worst(fit(slow_start + rest)) < 0.03


def test_steps_that_are_late_now_and_then_count_in_the_mean() -> None:
    counts = traffic(4000)
    late = np.random.default_rng(2).random(len(counts)) < 0.2
    times_ms = [true_ms(*c) * (1.5 if slow else 1) for c, slow in zip(counts, late, strict=True)]
    fitted = fit(logged(counts, times_ms))
    assert sum(fitted.step_ms(*c) for c in counts) == pytest.approx(sum(times_ms), rel=0.01)


def test_sizes_that_were_not_seen_go_on_as_the_last_that_were() -> None:
    few = [(p, min(t, 40), e, d, k) for p, t, e, d, k in traffic(2000)]
    fitted = fit(logged(few, [true_ms(*count) for count in few]))
    told = fitted.coefficients
    assert told["token_ms_from_256"] == told["token_ms_from_64"]
    added_ms = fitted.step_ms(0, 0, 0, 2000, 0) - fitted.step_ms(0, 0, 0, 1000, 0)
    assert added_ms == pytest.approx(1000 * (told["token_ms_from_64"] + told["row_ms"]))


def test_no_coefficient_is_negative_where_the_log_says_less_for_more(log_of: MakeLog) -> None:
    fitted = fit(log_of(lambda *counts: 10.0 - 1e-6 * counts[4], noise=0.02))
    assert min(fitted.coefficients.values()) == 0
    assert fitted.coefficients["decode_kv_ms"] == fitted.standard_errors["decode_kv_ms"] == 0


def test_logs_of_several_launches_are_fitted_together(log_of: MakeLog) -> None:
    log = log_of(true_ms, 150)
    with pytest.raises(ValueError, match="usable steps >= 200"):
        fit(log)
    assert (fit(log, log).rows, worst(fit(log, log)) < 0.01) == (260, True)


def test_a_step_lasts_from_one_output_to_the_next_but_not_through_idle_time() -> None:
    log = logged(traffic(300), [10.0] * 300)
    late = replace(log[-1], start_s=log[-1].start_s + 3, n_decodes=0, decode_kv_tokens=0)
    prompt = replace(late, n_prefills=1, prefill_tokens=9, prefill_attention=40)
    rows = rows_of((*log[:-1], prompt))
    assert rows.ms[:-1] == pytest.approx(np.full(279, 10.0))
    assert rows.ms[-1] == pytest.approx(9.8)  # without the handling of the output before it


def test_a_log_of_overlapping_steps_counts_no_time_twice() -> None:
    """Under async scheduling a step is scheduled while the one before it runs."""
    log = logged(traffic(300), [10.0] * 300)
    early = [replace(s, start_s=s.start_s - 0.008, model_s=s.model_s + 0.008) for s in log]
    assert rows_of(early).ms == pytest.approx(np.full(280, 10.0))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"prefill_tokens": -5}, "Of 400 steps 200 cannot be right"),
        ({"n_decodes": 0, "n_prefills": 0, "prefill_tokens": 0}, "200 cannot be right"),
        ({"model_s": float("nan")}, "cannot be right"),
        ({"start_s": 1.0}, "cannot be right"),
        ({"n_decodes": 7, "decode_kv_tokens": 3}, "200 cannot be right"),
    ],
)
def test_a_log_of_junk_is_refused(log_of: MakeLog, change: dict[str, float], said: str) -> None:
    log = [
        replace(step, **change) if index % 2 else step  # type: ignore[arg-type]
        for index, step in enumerate(log_of(true_ms, 400))
    ]
    with pytest.raises(ValueError, match=said):
        fit(log)


def test_a_few_rows_that_cannot_be_right_are_left_out_and_counted(log_of: MakeLog) -> None:
    log = list(log_of(true_ms, 1000))
    log[500] = replace(log[500], prefill_tokens=-1)
    rows = rows_of(log)
    assert (len(rows), rows.junk) == (979, 1)


def test_decode_batches_of_one_size_are_refused() -> None:
    counts = [(1, 64, 0, 8, 800), (0, 0, 0, 8, 800)] * 200
    with pytest.raises(ValueError, match="two sizes at least are needed, but got all of 8"):
        fit(logged(counts, [10.0] * 400))


def test_a_log_without_prompts_is_refused() -> None:
    counts = [(0, 0, 0, size, 100 * size) for size in range(1, 401)]
    with pytest.raises(ValueError, match="steps with prompts >= 20"):
        fit(logged(counts, [10.0] * 400))


def test_steps_that_take_less_for_more_work_are_refused(log_of: MakeLog) -> None:
    with pytest.raises(ValueError, match="must take longer with more tokens"):
        fit(log_of(lambda *counts: 1000 / (1 + counts[1] + counts[3])))


def test_an_empty_log_is_refused() -> None:
    with pytest.raises(ValueError, match="but got 0 after the first 20"):
        fit(())


def test_a_log_of_a_real_engine_is_fitted() -> None:
    """vLLM 0.32 on a CPU; see the README beside it."""
    log = read_step_log(CPU)
    fitted, rows = fit(log), rows_of(log)
    steps = zip(
        rows.prefill_requests,
        rows.prefill_tokens,
        rows.prefill_kv_tokens,
        rows.decode_requests,
        rows.decode_kv_tokens,
        strict=True,
    )
    predicted = [fitted.step_ms(*map(round, step)) for step in steps]
    assert fitted.linear.scatter < 0.35
    assert np.median(predicted) == pytest.approx(np.median(rows.ms), rel=0.1)
