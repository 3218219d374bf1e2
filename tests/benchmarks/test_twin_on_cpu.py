import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import twin_on_cpu
from benchmarks.twin_on_cpu import CONFIGS, KNOBS, Run, against_noise, during, held_out, judged
from objectives import Request, Workload
from runners.simulated.calibration import Interval
from runners.step_log import Step
from search_spaces import Config
from search_spaces.vllm import default_config, vllm_space
from tests.runners.simulated.calibration.conftest import logged, traffic
from tests.runners.simulated.calibration.test_fitted import true_ms
from tests.runners.simulated.calibration.test_parameters import LLAMA

TPOT, TTFT, THROUGHPUT = "mean_tpot_ms", "mean_ttft_ms", "output_throughput"
METRICS = {
    TPOT: 10.0,
    TTFT: 50.0,
    THROUGHPUT: 400.0,
    "p95_ttft_ms": 80.0,
    "p99_ttft_ms": 90.0,
    "p95_tpot_ms": 14.0,
    "p99_tpot_ms": 15.0,
    "kv_capacity_tokens": 100_000.0,
}
WORKLOAD = Workload(name="t", requests=tuple(Request(i / 10, 100, 20) for i in range(12)))
PREDICTED = {
    TPOT: Interval(11.0, 9.0, 13.0),
    TTFT: Interval(50.0, 40.0, 60.0),
    THROUGHPUT: Interval(390.0, 380.0, 395.0),
}
ALONE: dict[str, float | None] = {TPOT: 8.0, TTFT: 25.0, THROUGHPUT: None}


def configs() -> list[Config]:
    base = default_config(vllm_space(LLAMA))
    return [{**base, **dict(zip(KNOBS, knobs, strict=True))} for knobs in CONFIGS[:2]]


def run(index: int, log: Sequence[Step], **metrics: float) -> Run:
    return Run(
        index=index,
        began_s=log[0].start_s,
        ended_s=log[-1].start_s,
        cpu_pressure_percent=0.0,
        metrics={**METRICS, **metrics},
    )


def half_an_hour_later(log: Sequence[Step]) -> tuple[Step, ...]:
    return tuple(replace(step, start_s=step.start_s + 1800) for step in log)


def test_every_second_config_is_held_out_and_every_knob_varies_on_both_sides() -> None:
    for side in (False, True):
        kept = [knobs for index, knobs in enumerate(CONFIGS) if held_out(index) is side]
        assert len(kept) == 5
        assert all(len(set(values)) > 1 for values in zip(*kept, strict=True))


def test_the_steps_of_a_run_are_those_that_began_within_it() -> None:
    log = logged(traffic(300), [10.0] * 300)
    assert during(run(0, log[100:110]), log) == list(log[100:110])


def test_steps_of_held_out_runs_are_not_fitted_on() -> None:
    counts = traffic(1000)
    times_ms = [true_ms(*count) for count in counts]
    log = logged(counts, times_ms)
    slower = half_an_hour_later(logged(counts, [3 * ms for ms in times_ms]))
    runs = [run(0, log), run(1, slower, mean_tpot_ms=30.0)]
    found = twin_on_cpu.compared(configs(), WORKLOAD, runs, (*log, *slower))
    alone = twin_on_cpu.compared(configs(), WORKLOAD, runs[:1], log)
    assert found["calibration"] == alone["calibration"]
    assert found["configs"][:1] == alone["configs"]
    assert [one["held_out"] for one in found["configs"]] == [False, True]


def test_a_metric_is_told_over_the_repeats_and_as_predicted() -> None:
    runs = [{**METRICS, TPOT: tpot_ms} for tpot_ms in (9.0, 10.0, 11.0)]
    assert judged(runs, PREDICTED, ALONE)[TPOT] == {
        "measured": [9.0, 10.0, 11.0],
        "mean": 10.0,
        "standard_deviation": 1.0,
        "range": 2.0,
        "predicted": 11.0,
        "low": 9.0,
        "high": 13.0,
        "off_percent": pytest.approx(10.0),
        "off_in_standard_deviations": 1.0,
        "off_percent_by_steps_alone": pytest.approx(-20.0),
    }


def test_errors_stand_beside_the_noise_of_the_repeats() -> None:
    runs = [{**METRICS, TPOT: tpot_ms} for tpot_ms in (9.0, 10.0, 11.0)]
    close = judged(runs, PREDICTED, ALONE)
    far = judged(runs, {**PREDICTED, TPOT: Interval(8.0, 7.0, 9.0)}, ALONE)
    found = against_noise([close, far])
    assert found["configs"] == 2
    assert found[TPOT] == {
        "mean_absolute_error_percent": pytest.approx(15.0),
        "mean_error_percent": pytest.approx(-5.0),
        "repeat_standard_deviation_percent": pytest.approx(10.0),
        "repeat_range_percent": pytest.approx(20.0),
        "between_the_repeats": 1,
        "in_90_percent_interval": 1,
    }


def test_the_table_is_of_the_held_out_configs_and_can_be_printed_from_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [{**METRICS, TPOT: tpot_ms} for tpot_ms in (9.0, 10.0, 11.0)]
    told = [
        {**dict(zip(KNOBS, CONFIGS[i], strict=True)), "held_out": held_out(i)}
        | judged(runs, PREDICTED, ALONE)
        for i in (0, 1)
    ]
    file = tmp_path / "found.json"
    found = {"configs": told, "held_out": against_noise(told[1:])}
    file.write_text(json.dumps(found), "utf-8")
    monkeypatch.setattr("sys.argv", ["twin_on_cpu", "--table", str(file)])
    with pytest.raises(SystemExit, match="0"):
        twin_on_cpu.main()
    assert capsys.readouterr().out == (
        "| `max_num_seqs`, `max_num_batched_tokens`, `batch_wait_timeout_ms`, "
        "`long_prefill_token_threshold` | TPOT, ms: measured | predicted | off | output tokens/s: "
        "measured | predicted | off | TTFT, ms: measured | predicted | off |\n"
        "|---|---|---|---|---|---|---|---|---|---|\n"
        "| 6, 512, 0, 0 | 10.00 ± 1.00 | 11.00 (9.00 to 13.00) | +10.0 % (+1.0 sd) | "
        "400 ± 0 | 390 (380 to 395) | -2.5 % | "
        "50.00 ± 0.00 | 50.00 (40.00 to 60.00) | +0.0 % |\n"
        "\n"
        "| mean absolute error | repeats' standard deviation | repeats' range | "
        "in the 90 % interval |\n"
        "|---|---|---|---|\n"
        "| TPOT: 10.0 % | 10.0 % | 20.0 % | 1 of 1 |\n"
        "| output tokens/s: 2.5 % | 0.0 % | 0.0 % | 0 of 1 |\n"
        "| TTFT: 0.0 % | 0.0 % | 0.0 % | 1 of 1 |\n"
    )
