"""Our load client beside `vllm bench serve`, on one engine: python -m benchmarks.client_agreement

    --engine-command "DIR/bin/vllm serve" --model DIR

Both send the same lengths at the same times (vLLM's by its dataset `timed_trace`), in turns, each
after a few requests that do not count: an engine left idle, as it is while `vllm bench serve` is
imported, answers its next ones later. They count latency from different moments: ours from when a
request was due, vLLM's from when it left.
"""

import argparse
import json
import math
import os
import shlex
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from benchmarks.machine import cpu_pressure_avg10_percent, options, publish
from objectives import Load, Measurement, Workload
from objectives.arrivals import Synthetic, Uniform, poisson
from runners.cores import available, split
from runners.load import Server, offer
from runners.plain_http import ask
from runners.process import free_port, start

READY_WITHIN_S = 300.0
WARM_UP = 20
"""Requests sent at once before each run, and left out of it."""
METRICS = (
    "duration_s",
    "output_throughput",
    "request_throughput",
    "mean_ttft_ms",
    "mean_tpot_ms",
    "mean_e2el_ms",
)
THEIRS = {"duration_s": "duration"}
"""The one of them that vLLM's result file spells otherwise."""
ENGINE_OPTIONS = (
    "--load-format dummy --enforce-eager --gpu-memory-utilization 0.1 --max-model-len 4096 "
    "--no-enable-prefix-caching"
)


@dataclass(frozen=True, slots=True)
class Engine:
    program: str
    """The `vllm` that serves, and whose `bench serve` is compared with."""
    model: str
    vocab_size: int
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def running(command: str, model: str, arguments: str, cores: frozenset[int]) -> Iterator[Engine]:
    """The engine on its cores, answering; all of its processes end with the context."""
    argv = shlex.split(command)
    config = json.loads((Path(model) / "config.json").read_text("utf-8"))
    engine = Engine(argv[0], model, int(config["vocab_size"]), free_port())
    argv += [model, "--host", "127.0.0.1", "--port", str(engine.port), *shlex.split(arguments)]
    env = {"OMP_NUM_THREADS": "1", **os.environ}
    with start(argv, env=env, cores=cores) as process:
        until_s = time.monotonic() + READY_WITHIN_S
        while not answers(engine):
            if not process.alive or time.monotonic() > until_s:
                raise SystemExit("The engine is not ready:\n" + "\n".join(process.lines))
            time.sleep(0.5)
        yield engine


def answers(engine: Engine) -> bool:
    try:
        return ask(f"{engine.url}/health", 5.0).status == 200
    except ConnectionError:
        return False


def ours(engine: Engine, workload: Workload, salt: str) -> dict[str, float]:
    server = Server(url=engine.url, model=engine.model, vocab_size=engine.vocab_size)
    first = replace(workload, requests=workload.requests[:WARM_UP]).at_rate(math.inf)
    offer(server, Load(workload=first), salt=f"warm-up of {salt}")
    run = offer(server, Load(workload=workload), salt=salt)
    measured = Measurement(results=run.results, duration_s=run.duration_s, gpus=1)
    check_complete(len(measured.completed), workload)
    return {name: float(measured.metrics[name] or 0.0) for name in METRICS}


def theirs(engine: Engine, trace: Path, workload: Workload, folder: Path) -> dict[str, float]:
    argv = [engine.program, "bench", "serve", "--backend", "openai", "--base-url", engine.url]
    argv += ["--endpoint", "/v1/completions", "--model", engine.model, "--disable-tqdm"]
    argv += ["--dataset-name", "timed_trace", "--dataset-path", str(trace), "--ignore-eos"]
    argv += ["--num-prompts", str(len(workload.requests)), "--temperature", "0"]
    argv += ["--num-warmups", str(WARM_UP)]
    argv += ["--timed-trace-label-timestamp", "arrival_s", "--timed-trace-sec-multiplier", "1"]
    argv += ["--timed-trace-label-input-length", "input_tokens"]
    argv += ["--timed-trace-label-output-length", "output_tokens"]
    argv += ["--timed-trace-label-hash-ids", "blocks"]
    argv += ["--timed-trace-chunk-hash-size", str(workload.longest_tokens)]
    argv += ["--percentile-metrics", "ttft,tpot,itl,e2el", "--save-result"]
    argv += ["--result-dir", str(folder), "--result-filename", "theirs.json"]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"`vllm bench serve` failed:\n{done.stderr[-2000:]}")
    found = json.loads((folder / "theirs.json").read_text("utf-8"))
    check_complete(found["completed"], workload)
    return {name: float(found[THEIRS.get(name, name)]) for name in METRICS}


def check_complete(completed: int, workload: Workload) -> None:
    if completed != len(workload.requests):
        raise SystemExit(
            f"Every request must complete, but {completed} of {len(workload.requests)} did; "
            "lower --request-rate."
        )


def write_trace(workload: Workload, path: Path) -> None:
    """One block of its own for each request, so that no prompt repeats within a run."""
    lines = [
        {
            "arrival_s": request.arrival_s - workload.requests[0].arrival_s,
            "input_tokens": request.input_tokens,
            "output_tokens": request.output_tokens,
            "blocks": [index],
        }
        for index, request in enumerate(workload.requests)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")


def compared(mine: Sequence[Mapping[str, float]], other: Sequence[Mapping[str, float]]) -> Any:
    """Per metric: both means, their spread, and ours less theirs in percent."""
    table = {}
    for name in METRICS:
        left, right = [run[name] for run in mine], [run[name] for run in other]
        table[name] = {
            "ours": round(mean(left), 3),
            "ours_sd": round(stdev(left), 3) if len(left) > 1 else None,
            "theirs": round(mean(right), 3),
            "theirs_sd": round(stdev(right), 3) if len(right) > 1 else None,
            "difference_percent": round(100 * (mean(left) / mean(right) - 1), 2),
        }
    return table


def measure(given: argparse.Namespace) -> Mapping[str, Any]:
    workload = Synthetic(
        lengths=(
            Uniform(given.input_tokens, spread=0.5),
            Uniform(given.output_tokens, spread=0.5),
        ),
        arrivals=poisson(given.request_rate),
    ).workload("agreement", requests=given.requests, seed=given.seed)
    engine_cores, client_cores = split(available())
    # Ours and theirs inherit it.
    os.sched_setaffinity(0, client_cores)
    mine, other, pressures = [], [], []
    with (
        tempfile.TemporaryDirectory() as scratch,
        running(given.engine_command, given.model, given.engine_options, engine_cores) as engine,
    ):
        folder = Path(scratch)
        write_trace(workload, folder / "trace.jsonl")
        ours(engine, workload, "all of it once")
        for repeat in range(given.repeats):
            pressures.append(cpu_pressure_avg10_percent())
            mine.append(ours(engine, workload, f"{given.seed}/{repeat}"))
            other.append(theirs(engine, folder / "trace.jsonl", workload, folder))
    os.sched_setaffinity(0, engine_cores | client_cores)
    return {
        "engine_options": given.engine_options,
        "requests": len(workload.requests),
        "request_rate": round(workload.request_rate, 3),
        "repeats": given.repeats,
        # The benchmark's own engine is in it: the figures are void where others' work was.
        "pressure_before_each_percent": pressures,
        "compared": compared(mine, other),
    }


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--engine-command", required=True, metavar='"DIR/bin/vllm serve"')
    parser.add_argument("--engine-options", default=ENGINE_OPTIONS, metavar="TEXT")
    parser.add_argument("--model", required=True, metavar="DIR", help="with a tokenizer")
    parser.add_argument("--requests", type=int, default=100)
    parser.add_argument("--request-rate", type=float, default=4.0)
    parser.add_argument("--input-tokens", type=int, default=256)
    parser.add_argument("--output-tokens", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    publish(lambda: measure(given), given.out)


if __name__ == "__main__":
    main()
