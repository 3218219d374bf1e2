#!/usr/bin/env bash
# Your own traffic under your own promise: a trace, a study file, a study, its answer again.
set -euo pipefail

# When each request came, in seconds, and how many tokens it read and wrote.
{
    echo arrival_s,input_tokens,output_tokens
    for second in $(seq 0 99); do
        for tenth in 0 3 7; do
            prompt=$((300 + (second + tenth) * 37 % 900)) answer=$((60 + second * 53 % 300))
            echo "$second.$tenth,$prompt,$answer"
        done
    done
} >traffic.csv

# What differs from the preset: the promise, with where its numbers come from, and the knobs.
cat >support.yaml <<'YAML'
extends: chat
sla:
  p95_ttft_ms<=300: "our own promise"
  p95_tpot_ms<=25: "our own promise"
range:
  max_num_seqs: 16:256
  tensor_parallel_size: 1,2
YAML

tune --objective support.yaml --workload traffic.csv --gpu l40s --gpus 2 --trials 6 \
    --mlflow off --output support --quiet >answer.txt

tune show support
