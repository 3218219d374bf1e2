#!/usr/bin/env bash
# What a larger batch costs where each must finish before the next begins: batch_policy=static.
# Throughput rises with the batch, and so does the wait for every answer.
set -euo pipefail

measure() { # BATCH
    tune measure --objective offline --model llama-2-7b --gpu a100_sxm --gpus 1 \
        --input-tokens 512 --output-tokens 64 --requests 256 --concurrency "$1" \
        --set batch_policy=static --set max_num_seqs="$1" --set max_num_batched_tokens=32768
}

for batch in 1 64; do
    measure "$batch" >"batch_$batch.json"
done

python - <<'PYTHON'
import json
from pathlib import Path

one, many = (json.loads(Path(f"batch_{n}.json").read_text())["metrics"] for n in (1, 64))
for batch, metrics in ((1, one), (64, many)):
    print(
        f"batch {batch:2}: {metrics['output_throughput']:6.0f} tok/s, "
        f"{metrics['mean_e2el_ms']:5.0f} ms an answer"
    )
throughput = many["output_throughput"] / one["output_throughput"]
latency = many["mean_e2el_ms"] / one["mean_e2el_ms"]
print(f"{throughput:.0f} times the throughput at {latency:.1f} times the latency (simulated)")
PYTHON
