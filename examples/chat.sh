#!/usr/bin/env bash
# Which settings serve a chat best? A small study on the simulated engine: no GPU is needed.
set -euo pipefail

tune --objective chat --trials 6 --requests 120 --mlflow off --output chat

printf '\nThe file to start a server from:\n'
cat chat/best/interactive.yaml
