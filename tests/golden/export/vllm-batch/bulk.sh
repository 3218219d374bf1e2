#!/usr/bin/env bash
# paretune study chat-monday, trial 12: bulk on chat traffic, for 4 x h100_sxm, 2026-11-30.
# Expected: p95_ttft_ms 100; at the offered load p95_ttft_ms 100, p95_tpot_ms 20.
# Start with: bash THIS_FILE requests.jsonl answers.jsonl
# Checked by our closed schema. More in the .provenance.yaml beside this file.
set -euo pipefail
exec vllm run-batch -i "$1" -o "$2" \
    --model=meta-llama/Llama-3.1-8B-Instruct \
    --max-model-len=8192 \
    --max-num-seqs=1024 \
    --max-num-batched-tokens=16384 \
    --long-prefill-token-threshold=0 \
    --tensor-parallel-size=1 \
    --gpu-memory-utilization=0.9 \
    --enable-chunked-prefill \
    --no-enable-prefix-caching \
    --scheduling-policy=fcfs \
    --data-parallel-size=4 \
    --stream-interval=1
