import json
import re
from pathlib import Path
from typing import Any

import pytest

from tuner.cli import main
from tuner.errors import BadInput, EngineTrouble
from tuner.measure import measure
from tuner.options import Options

SMALL: dict[str, Any] = {
    "objective": "chat",
    "gpus": 1,
    "requests": 60,
    "request_rate": 2.0,
    "input_tokens": 200,
    "output_tokens": 20,
}


def measured(**options: Any) -> dict[str, Any]:
    return measure(Options(**{**SMALL, **options}))


def test_a_measurement_says_what_was_measured_under_which_load() -> None:
    answer = measured(sla="p95_ttft_ms<=900")
    assert list(answer) == ["config", "load", "metrics", "intervals", "sla", "engine"]
    assert answer["load"] == {
        "objective": "chat",
        "source": "lengths from the command line, Poisson arrivals",
        "requests": 60,
        "request_rate": pytest.approx(2.0),
        "concurrency": None,
        "notes": [],
    }
    assert answer["engine"] == {
        "engine": "simulated",
        "version": answer["engine"]["version"],
        "simulated": True,
        "uncertainty": answer["engine"]["uncertainty"],
        "model": "meta-llama/Llama-3.1-8B-Instruct",
        "gpu": "h100_sxm",
        "gpus": 1,
    }
    assert answer["metrics"]["completed"] == 60
    assert answer["sla"] == {
        "p95_ttft_ms<=900": {
            "limit": 900.0,
            "value": answer["metrics"]["p95_ttft_ms"],
            "share": 1.0,
            "verdict": "met",
            "interval": answer["intervals"]["p95_ttft_ms"],
            "claim": "met",
        }
    }


def test_knobs_not_set_take_the_engines_default() -> None:
    assert measured(set=["max_num_seqs=4", "batch_policy=static"])["config"] == {
        "max_num_seqs": 4,
        "max_num_batched_tokens": 8192,
        "long_prefill_token_threshold": 0,
        "batch_wait_timeout_ms": 0,
        "batch_wait_min_requests": 0,
        "batch_policy": "static",
        "tensor_parallel_size": 1,
        "gpu_memory_utilization": 0.92,
        "enable_chunked_prefill": True,
        "enable_prefix_caching": True,
        "scheduling_policy": "fcfs",
        "speculative_config": "none",
        "kv_cache_dtype": "auto",
        "quantization": "none",
        "data_parallel_size": 1,
    }


def test_the_ranges_of_a_study_file_leave_the_default_alone(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("extends: chat\nrange: {max_num_seqs: '1:4'}\n")
    assert measured(objective=str(file))["config"]["max_num_seqs"] == 1024


def test_a_closed_loop_has_a_concurrency_and_no_rate() -> None:
    load = measured(request_rate=None, concurrency=3)["load"]
    assert (load["request_rate"], load["concurrency"]) == (None, 3)


def test_without_a_rate_the_load_is_sized_to_the_default_config() -> None:
    answer = measured(request_rate=None)
    [note] = answer["load"]["notes"]
    found = re.search(r"offering ([0-9.]+) req/s", note)
    assert found is not None
    assert answer["load"]["request_rate"] == pytest.approx(float(found[1]), rel=0.01)


def test_a_batch_is_held_to_its_deadline() -> None:
    answer = measured(
        objective="offline", request_rate=None, deadline="8h", documents=5000, requests=20
    )
    assert answer["sla"]["makespan_s<=28800"]["value"] == answer["metrics"]["makespan_s"]
    assert answer["sla"]["makespan_s<=28800"]["verdict"] == "met"


def test_the_same_seed_measures_the_same() -> None:
    assert measured(seed=3) == measured(seed=3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"objective": "all"},
            "`tune measure` takes one objective, but --objective is all; name one.",
        ),
        (
            {"range": ["max_num_seqs=1:8"]},
            "`tune measure` takes one config: --set knobs instead of --range.",
        ),
        (
            {"start_from": Path("best.yaml")},
            "`tune measure` takes one config: --set knobs instead of --start-from.",
        ),
        (
            {"set": ["max_num_seqs=512", "max_num_batched_tokens=256"]},
            "No config can keep the rule `max_num_batched_tokens >= max_num_seqs` (a step must be "
            "able to give every running request a token) with max_num_seqs=512, "
            "max_num_batched_tokens=256; change a --set or --range.",
        ),
        (
            {"set": ["max_model_len=23552"], "gpu": "l4", "sla": "p95_tpot_ms<=90"},
            "`weights and one longest request fit` must hold (the KV cache must hold one request "
            "of max_model_len = 23552 tokens); --set max_model_len=21760 or --gpus 2 "
            "--set tensor_parallel_size=2 would do.",
        ),
    ],
)
def test_what_is_not_one_config_that_can_run_is_refused(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadInput) as caught:
        measured(**options)
    assert str(caught.value) == message


def test_an_engine_that_cannot_be_started_is_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    from runners import EngineError, FailureKind
    from runners.simulated import SimulatedRunner

    def launch(self: SimulatedRunner, config: object) -> None:
        raise EngineError(FailureKind.NEVER_READY, "no answer in 600 s")

    monkeypatch.setattr(SimulatedRunner, "launch", launch)
    with pytest.raises(EngineTrouble, match=r"^never ready: no answer in 600 s$"):
        measured()


def test_the_command_prints_json_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = "--objective chat --gpus 1 --requests 60 --request-rate 2 --input-tokens 200"
    with pytest.raises(SystemExit) as left:
        main(["measure", *asked.split(), "--output-tokens", "20"])
    out, err = capsys.readouterr()
    assert (left.value.code, err, json.loads(out)) == (0, "", measured())
    assert list(tmp_path.iterdir()) == []
