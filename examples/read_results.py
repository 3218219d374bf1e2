"""What a study leaves behind, read with pandas: every trial, and the front among them."""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd

STUDY = Path("rag")
COLUMNS = {
    "number": "trial",
    "origin": "origin",
    "config.max_num_seqs": "max_num_seqs",
    "config.tensor_parallel_size": "tp",
    "loads.offered.p95_ttft_ms": "p95_ttft_ms",
    "loads.capacity.capacity_per_gpu": "capacity_per_gpu",
}

options = "--objective rag --gpus 2 --trials 6 --requests 120 --mlflow off --quiet --output rag"
command = [sys.executable, "-m", "tuner", *options.split()]
subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603

lines = (STUDY / "trials.jsonl").read_text("utf-8").splitlines()
trials = pd.json_normalize([json.loads(line) for line in lines])
table = trials[list(COLUMNS)].rename(columns=COLUMNS)

summary = json.loads((STUDY / "summary.json").read_text("utf-8"))
front = [point["trial"] for point in summary["front"]]

print(table.to_string(index=False, float_format="{:.1f}".format))
print("\nThe front: no trial that meets the SLA is better in both values than one of these.")
print(table[table["trial"].isin(front)].to_string(index=False, float_format="{:.1f}".format))
