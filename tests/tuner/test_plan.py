import re
from pathlib import Path
from typing import Any

import pytest

from runners import Failure, FailureKind
from tuner.options import Options
from tuner.plan import plan
from tuner.trial import Outcome

SMALL: dict[str, Any] = {
    "objective": "chat",
    "gpus": 2,
    "requests": 60,
    "load": "offered",
    "request_rate": 2.0,
    "input_tokens": 200,
    "output_tokens": 20,
}


def planned(**options: Any) -> list[str]:
    return plan(Options(**{**SMALL, **options})).splitlines()


def section(lines: list[str], title: str) -> list[str]:
    """The indented lines under a title."""
    below = lines[lines.index(title) + 1 :]
    end = next((n for n, line in enumerate(below) if not line.startswith("  ")), len(below))
    return [line.removeprefix("  ") for line in below[:end]]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_plan_says_what_is_served_and_what_is_promised() -> None:
    lines = planned(sla="p95_ttft_ms<=700")
    assert " meta-llama/Llama-3.1-8B-Instruct on 2 x h100_sxm. " in lines[0]
    served = "chat: 60 requests, lengths from the command line, Poisson arrivals"
    assert section(lines, served) == ["SLA: p95_ttft_ms<=700 (--sla)"]


def test_a_plan_shows_every_searched_knob_with_what_it_costs_to_turn() -> None:
    lines = planned(
        set=["gpu_memory_utilization=0.9", "batch_wait_timeout_ms=0"],
        range=["max_num_seqs=8:64", "kv_cache_dtype=auto,fp8"],
        allow_lossy=True,
    )
    shown = section(lines, "Searched:")
    assert [line for line in shown if not line.startswith(" ")] == [
        "max_num_seqs: 8 to 64 (log) (default 1024; live knob)",
        "max_num_batched_tokens: 256 to 16384 in steps of 256 (default 8192; live knob)",
        "long_prefill_token_threshold: 0 (default 0; live knob)",
        "tensor_parallel_size: 1, 2 (default 1; launch knob)",
        "kv_cache_dtype: auto, fp8 (default auto; launch knob, may change answers)",
    ]
    assert (
        "Held: batch_wait_min_requests=0, batch_policy=continuous, enable_chunked_prefill=true, "
        "enable_prefix_caching=true, scheduling_policy=fcfs, speculative_config=none, "
        "quantization=none, gpu_memory_utilization=0.9, batch_wait_timeout_ms=0"
    ) in lines


def test_a_plan_shows_the_rules_with_their_reasons() -> None:
    rules = section(planned(), "Rules that every config must keep:")
    assert rules[0] == (
        "max_num_batched_tokens >= max_num_seqs: "
        "a step must be able to give every running request a token"
    )
    assert len(rules) == 6


def test_a_plan_shows_what_is_tried_first(folder: Path) -> None:
    own = folder / "own.yaml"
    own.write_text("max-num-seqs: 48\nno-enable-prefix-caching: true\n")
    assert section(planned(start_from=own), "Tried first:") == [
        "default: the engine as it comes",
        "transfer: max_num_seqs=48",
        "preset: max_num_batched_tokens=2048, tensor_parallel_size=2",
        "preset: max_num_batched_tokens=16384",
    ]


def test_a_plan_predicts_the_cost_in_engine_time() -> None:
    trials, budget = planned(trials=100)[-1], planned(budget="1h")[-1]
    each = re.match(
        r"Predicted: (\d+) s of engine time a trial that is measured whole and (\d+) s to confirm "
        "a finalist: ",
        trials,
    )
    assert each is not None
    each_s, confirming_s = int(each[1]), int(each[2])
    assert 10 * 40 < confirming_s < 10 * each_s  # five pairs of launches
    hours = (each_s * 100 + confirming_s) / 3600
    assert trials == (
        f"{each[0]}at most {hours:.1f} h for 100 trials ({2 * hours:.1f} GPU-hours), by "
        "simulating the default config."
    )
    tried = re.fullmatch(
        f"{each[0]}at least (\\d+) trials in the budget, by simulating the default config.", budget
    )
    assert tried is not None
    assert int(tried[1]) == pytest.approx((3600 - confirming_s) / each_s, abs=1)


def test_a_plan_says_when_the_default_config_would_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = Outcome(failure=Failure(FailureKind.DIED, "of a bad launch"))
    monkeypatch.setattr("tuner.plan.try_out", lambda problem, runner, config: failed)
    assert planned()[-1] == "The default config would fail: died: of a bad launch."


def test_a_plan_of_a_preset_says_what_would_be_offered() -> None:
    lines = plan(Options(objective="chat", gpus=1, requests=60)).splitlines()
    [offered] = [line for line in lines if line.startswith("chat: offering ")]
    assert " req/s, 70 % of the default config's capacity of " in offered


def test_a_plan_of_nothing_to_search_says_so() -> None:
    given = ["max_num_seqs=8", "max_num_batched_tokens=512", "tensor_parallel_size=1"]
    given += ["batch_wait_timeout_ms=0", "long_prefill_token_threshold=0"]
    lines = planned(set=[*given, "gpu_memory_utilization=0.9"])
    assert "Searched: nothing, every knob is set." in lines


def test_a_plan_writes_nothing(folder: Path) -> None:
    planned()
    assert list(folder.iterdir()) == []
