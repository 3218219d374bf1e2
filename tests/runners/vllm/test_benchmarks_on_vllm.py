"""A benchmark of real vLLM in its smallest size."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]


def measured(benchmark: str, command: str, model: Path, *options: str) -> dict[str, Any]:
    done = subprocess.run(
        [
            *(sys.executable, "-m", f"benchmarks.{benchmark}"),
            *("--engine-command", command, "--model", str(model), *options),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PARETUNE_FORK": "1"},
    )
    found: dict[str, Any] = json.loads(done.stdout)
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
