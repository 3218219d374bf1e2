import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.twin_accuracy import comparison, static_batches
from benchmarks.twin_accuracy.agreement import Errors, affine, errors, spearman
from benchmarks.twin_accuracy.comparison import compare, figures
from benchmarks.twin_accuracy.learnt import NEUTRAL, learnt
from benchmarks.twin_accuracy.measured import MAIN, Group, Row, Setup, read
from benchmarks.twin_accuracy.priors import by_size, factors, together
from benchmarks.twin_accuracy.replay import NotSimulated, Replay, replay
from runners.simulated.calibration import Parameters

ROOT = Path(__file__).parents[2]
FIXTURES = Path(__file__).parent / "fixtures"
TENSORRT = Group(
    backend="trtllm",
    version="",
    model="meta-llama/Llama-3.1-70B",
    gpu="b200_sxm",
    precision="fp8",
)
KERNELS_ONLY = """
import json, sys
from pathlib import Path

opened = []
def note(event, told):
    if event in ("open", "os.open"):
        opened.append(str(told[0]))
sys.addaudithook(note)

import aiconfigurator_core
from benchmarks.twin_accuracy.measured import MAIN, read
from benchmarks.twin_accuracy.replay import replay

found = replay(read(Path(sys.argv[1]))[MAIN][0].setup, "bf16")
print(json.dumps({
    "package": str(Path(aiconfigurator_core.__file__).parent),
    "source": found.source,
    "times_ms": [found.ttft_ms, found.tpot_ms],
    "silicon": [path for path in opened if "silicon" in path],
}))
"""


def setup_of(**changes: Any) -> Setup:
    first = read(FIXTURES)[MAIN][0].setup
    return replace(first, **changes)


def twin(ttft_ms: float, tpot_ms: float) -> Replay:
    return Replay(
        ttft_ms=ttft_ms, tpot_ms=tpot_ms, saturated=False, preemptions=0, source="a test"
    )


def test_the_rows_are_read_by_group() -> None:
    groups = read(FIXTURES)
    assert {str(group): len(rows) for group, rows in groups.items()} == {
        "vllm (version not given), meta-llama/Llama-3.1-70B fp8, h100_sxm": 8,
        "trtllm (version not given), meta-llama/Llama-3.1-70B fp8, b200_sxm": 1,
        "sglang nightly-dev, zhipuai/GLM-5 fp8, b200_sxm": 1,
        "vllm 0.19.0, MiniMaxAI/MiniMax-M2.5 fp8, b300_sxm": 1,
    }
    assert groups[MAIN][0] == Row(
        setup=Setup(
            group=MAIN,
            input_tokens=1024,
            output_tokens=1024,
            concurrency=16,
            batch_size=16,
            tensor_parallel_size=4,
            attention_dp_size=1,
            moe_ep_size=1,
        ),
        ttft_ms=121.4,
        tpot_ms=13.19,
    )


def test_errors_are_relative_to_what_was_measured() -> None:
    assert errors([(90, 100), (220, 200), (80, 100)]) == Errors(
        rows=3, mape=13.3, bias=-6.7, p90=18.0, worst=-20.0
    )
    assert errors([]) is None


def test_ranks_agree_whatever_the_scale_and_ties_share_a_rank() -> None:
    assert spearman([(1, 10), (2, 400), (3, 401)]) == 1.0
    assert spearman([(3, 10), (2, 20), (1, 30)]) == -1.0
    assert spearman([(1, 1), (1, 2), (2, 3), (3, 4)]) == 0.9487
    assert spearman([(1, 1), (2, 2)]) is None
    assert spearman([(1, 1), (1, 2), (1, 3)]) is None


def test_an_affine_map_goes_through_its_probes() -> None:
    found = affine([(10, 13), (20, 25), (40, 49)])
    assert (found.slope, found.intercept_ms) == pytest.approx((1.2, 1.0))
    assert found(30) == pytest.approx(37)


def test_after_three_probes_the_other_runs_of_a_tp_size_are_fitted_and_the_probes_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = read(FIXTURES)[MAIN]
    halves = {row.setup: twin(row.ttft_ms / 2, row.tpot_ms / 2) for row in rows}
    monkeypatch.setattr(comparison, "replay", lambda setup, *_: halves[setup])
    found = compare(MAIN, rows, "bf16")
    fitted = [case.fitted and tuple(round(ms, 6) for ms in case.fitted) for case in found.cases]
    # Rows 0, 3 and 4 are the probes of TP 4; TP 2 has none.
    expected = [
        None
        if index in (0, 3, 4) or row.setup.tensor_parallel_size == 2
        else (row.ttft_ms, row.tpot_ms)
        for index, row in enumerate(rows)
    ]
    assert fitted == [value and tuple(round(ms, 6) for ms in value) for value in expected]
    assert figures(found)["tpot"]["mape"] == 50.0
    assert figures(found)["after_probes"]["tpot"]["mape"] == 0.0


def test_calibration_learns_from_the_probes_of_a_tp_size_and_no_prior_of_the_runs_it_judges() -> (
    None
):
    rows = [
        replace(row, ttft_ms=2 * told.ttft_ms, tpot_ms=2 * told.tpot_ms)
        for row in read(FIXTURES)[MAIN]
        for told in [replay(row.setup, "bf16")]
    ]
    found = learnt(compare(MAIN, rows, "bf16"))
    assert [case.learnt is None for case in found.cases] == [
        index in (0, 3, 4) or row.setup.tensor_parallel_size == 2 for index, row in enumerate(rows)
    ]
    assert figures(found)["learnt"]["tpot"]["mape"] < 3
    assert NEUTRAL.parameters == Parameters()


@pytest.mark.parametrize(
    "group",
    [replace(MAIN, gpu="h200_sxm"), replace(MAIN, backend="trtllm")],
    ids=["H200", "TensorRT-LLM"],
)
def test_nothing_is_fitted_on_h200_or_another_engine(
    group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparison, "replay", lambda setup, *_: twin(100, 10))
    found = compare(group, read(FIXTURES)[MAIN], "bf16")
    assert [case.fitted for case in found.cases] == [None] * 8


def test_a_group_that_is_not_simulated_is_counted_with_the_reason() -> None:
    groups = read(FIXTURES)
    reasons = [
        compare(group, rows, "bf16").left_out
        for group, rows in groups.items()
        if group.model in ("zhipuai/GLM-5", "MiniMaxAI/MiniMax-M2.5")
    ]
    assert [list(found.values()) for found in reasons] == [[1], [1]]
    assert "Unknown model 'zhipuai/GLM-5'" in next(iter(reasons[0]))
    assert list(reasons[1]) == ["data-parallel attention is not simulated"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"attention_dp_size": 2}, "data-parallel attention is not simulated"),
        ({"moe_ep_size": 4}, "expert parallelism is not simulated"),
        ({"batch_size": 4}, "several instances behind one client, how many is not said"),
    ],
)
def test_another_kind_of_parallelism_is_refused(changes: Mapping[str, int], reason: str) -> None:
    with pytest.raises(NotSimulated, match=reason):
        replay(setup_of(**changes), "bf16")


def test_a_run_that_filled_the_kv_cache_fills_that_of_the_twin_too() -> None:
    # In fp8, as the scripts ask, it would have found room; the real one waited 6.5 s.
    full = setup_of(input_tokens=8192, concurrency=32, batch_size=32, tensor_parallel_size=2)
    found = {kv_dtype: replay(full, kv_dtype) for kv_dtype in ("bf16", "fp8")}
    assert {kv_dtype: told.saturated for kv_dtype, told in found.items()} == {
        "bf16": True,
        "fp8": False,
    }
    assert found["bf16"].ttft_ms > 3 * found["fp8"].ttft_ms


def test_a_larger_static_batch_takes_longer_and_serves_more() -> None:
    one, many = (static_batches.static("meta-llama/Llama-2-7b-hf", 1, batch) for batch in (1, 8))
    assert (one.engine["mean_running"], many.engine["mean_running"]) == (1.0, 8.0)
    for metric in ("mean_e2el_ms", "request_throughput"):
        assert (many.metrics[metric] or 0) > (one.metrics[metric] or 0)


def command(data: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.twin_accuracy", "--data", str(data), *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )


def test_the_command_prints_tables_and_writes_every_figure(tmp_path: Path) -> None:
    out = tmp_path / "accuracy.json"
    done = command(FIXTURES, "--out", str(out))
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(out.read_text("utf-8"))
    assert list(found) == ["paretune", "main", "groups", "static_batches", "kernel_tables"]
    assert [len(found["main"][kv_dtype]["table"]) for kv_dtype in ("bf16", "fp8")] == [8, 8]
    assert len(found["groups"]) == 4
    assert "zhipuai/GLM-5 fp8, b200_sxm: 1 of 1 rows: Unknown model" in done.stdout


def test_the_prior_is_read_off_vllms_runs_and_none_on_h200() -> None:
    rows = [row for row in read(FIXTURES)[MAIN] if row.setup.tensor_parallel_size == 4]
    others = {replace(MAIN, gpu="h200_sxm"): rows, replace(MAIN, backend="trtllm"): rows}
    assert len(factors({**others, MAIN: rows})) == 1
    assert factors(others) == []


def test_one_fit_tells_what_all_sizes_share_from_what_each_has() -> None:
    rows = read(FIXTURES)[MAIN]
    slow = [
        replace(row, ttft_ms=1.3 * told.ttft_ms, tpot_ms=1.3 * told.tpot_ms)
        for row in rows
        for told in [replay(row.setup, "bf16")]
    ]
    fit = together(by_size(compare(MAIN, slow, "bf16")))
    assert list(fit.host_ms) == [2, 4]
    assert fit.factor == pytest.approx(1.3, rel=0.05)
    assert fit.tpot_sd < 0.03


def test_a_folder_without_the_rows_is_refused(tmp_path: Path) -> None:
    done = command(tmp_path)
    assert done.returncode == 2
    assert "must be a folder with gpu_measured_agg.csv" in done.stderr


def test_predictions_do_not_depend_on_the_measurements_that_lie_beside_the_kernels(
    tmp_path: Path,
) -> None:
    """The package's own ``silicon_sample.csv`` is what the twin is judged by."""
    package = Path(pytest.importorskip("aiconfigurator_core").__file__).parent
    copy = without_silicon(package, tmp_path / "aiconfigurator_core")
    paths = [str(tmp_path), str(ROOT)]
    done = subprocess.run(
        [sys.executable, "-c", KERNELS_ONLY, str(FIXTURES)],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(paths),
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    here = replay(setup_of(), "bf16")
    assert json.loads(done.stdout) == {
        "package": str(copy),
        "source": "aiconfigurator-core 0.12.0, measured vLLM kernels",
        "times_ms": [here.ttft_ms, here.tpot_ms],
        "silicon": [],
    }


def without_silicon(package: Path, copy: Path) -> Path:
    """The package by links, the one file left out."""
    systems = copy / "systems"
    systems.mkdir(parents=True)
    for part in [*package.iterdir(), *(package / "systems").iterdir()]:
        if part.name not in ("systems", "silicon_sample.csv"):
            (copy / part.relative_to(package)).symlink_to(part)
    assert (package / "systems" / "silicon_sample.csv").is_file()
    return copy
