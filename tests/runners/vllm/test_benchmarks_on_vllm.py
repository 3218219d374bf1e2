"""A benchmark of real vLLM in its smallest size."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.recording import LOADS, Setting, read_recording

ROOT = Path(__file__).parents[3]


def printed(benchmark: str, command: str, model: Path, *options: str) -> str:
    return subprocess.run(
        [
            *(sys.executable, "-m", f"benchmarks.{benchmark}"),
            *("--engine-command", command, "--model", str(model), *options),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PARETUNE_FORK": "1"},
    ).stdout


def measured(benchmark: str, command: str, model: Path, *options: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(printed(benchmark, command, model, *options))
    return found


def test_batching_policies_are_measured_side_by_side(vllm_command: str, tiny_model: Path) -> None:
    few = ("--requests", "6", "--request-rate", "50", "--max-num-seqs", "4", "--repeats", "1")
    found = measured("batching_policies", vllm_command, tiny_model, *few)
    # A run is void where the client was late, as on a busy machine; it is said either way.
    counted = {name: run["runs"] + len(run["void"]) for name, run in found["policies"].items()}
    assert counted == dict.fromkeys(
        [
            "continuous",
            "continuous, waits up to 50 ms",
            "static",
            "static, waits up to 50 ms",
            "static, waits up to 5000 ms",
            "prefill-first",
            "decode-first",
        ],
        1,
    )
    assert found["vllm"].startswith("0.32.")


def test_a_surface_is_recorded_and_gone_on_with(
    vllm_command: str, tiny_model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "surface.jsonl.gz"
    few = ["--requests=6", "--settings=2", "--repeats=1", f"--out={out}"]
    few += ["--others-below=2"]  # Whatever else the machine does, nothing is run again.
    printed("record_surface", vllm_command, tiny_model, *few)
    whole = read_recording(out)
    assert {(run.due.setting, run.due.load) for run in whole.runs} == {
        (setting, load) for setting in (Setting(4, 32), Setting(4, 128)) for load in LOADS
    }
    plain = out.with_suffix("")
    kept = plain.read_text("ascii").splitlines(keepends=True)[:-1]
    plain.write_text("".join(kept), "ascii")
    printed("record_surface", vllm_command, tiny_model, *few)
    again = read_recording(out)
    assert (again.header, again.runs[:-1]) == (whole.header, whole.runs[:-1])
    assert again.runs[-1].due == whole.runs[-1].due
    assert [run.launch for run in again.runs] == [0, 0, 0, 1]
