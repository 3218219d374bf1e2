"""Knobs turned on a running vLLM against fresh launches with flags: the steps and the speed.

    python -m benchmarks.live_against_fresh --engine-command "vllm serve" --model DIR

Fresh engines run vLLM's own scheduler; the live one was launched once with the largest of the
flags. Steps are compared exactly, on requests that all wait before the first step. Repeats of the
timing are interleaved; one during which the machine was busy otherwise is void.
"""

import argparse
import http.client
import json
import os
import re
import secrets
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.machine import cpu_pressure_avg10_percent, options, publish
from objectives import Load, Request, Workload
from runners import cores
from runners import load as client
from runners.base import EngineError
from runners.process import free_port

INSIDE = Path(client.__file__).parents[1] / "vllm" / "inside"
SETTINGS = ((4, 128), (16, 256), (64, 1024), (8, 64))
"""``max_num_seqs`` and ``max_num_batched_tokens``."""
CAPS = (64, 1024)
ENGINE_CORES, CLIENT_CORES = cores.split(cores.available())
OURS = (
    *("--scheduler-cls", "paretune_scheduler.Scheduler"),
    *("--middleware", "paretune_knobs.knobs"),
)
MAX_MODEL_LEN = 2048
SWITCHES = (
    *("--load-format", "dummy", "--gpu-memory-utilization", "0.1"),
    f"--max-model-len={MAX_MODEL_LEN}",
    *("--enforce-eager", "--no-enable-prefix-caching", "--disable-uvicorn-access-log"),
    *("--enable-log-requests", "--enable-logging-iteration-details"),
)
STEP = re.compile(
    r"(\d+) context requests, (\d+) context tokens, "
    r"(\d+) generation requests, (\d+) generation tokens"
)
READY_WITHIN_S = 300.0
QUEUED = tuple((100 + 37 * number % 400, 32) for number in range(40))
"""Prompt and answer tokens."""
VOID_ABOVE_PERCENT = 5.0


@dataclass(frozen=True, slots=True)
class Engine:
    """A server, with its log and the token of its knobs."""

    port: int
    model: str
    log: Path
    token: str

    def ask(self, method: str, path: str, body: object = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.token}"}
        text = None if body is None else json.dumps(body)
        try:
            connection.request(method, path, text, headers)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        if answer.status != 200:
            raise SystemExit(f"{method} {path} must be answered with 200, but got {content!r}.")
        return json.loads(content) if content else None

    def turn(self, seqs: int, tokens: int) -> None:
        knobs = {"max_num_seqs": seqs, "max_num_batched_tokens": tokens}
        self.ask("POST", "/paretune/knobs", knobs)

    def complete(self, prompt: int, answer: int) -> None:
        body = {"prompt": [7] * prompt, "max_tokens": answer, "ignore_eos": True}
        self.ask("POST", "/v1/completions", {"model": self.model, **body})

    def added(self) -> int:
        return self.log.read_text("utf-8").count("Added request")


@contextmanager
def launched(
    given: argparse.Namespace, folder: Path, setting: tuple[int, int], *ours: str
) -> Iterator[Engine]:
    """An engine with these flags; its whole process group is gone afterwards."""
    port, token = free_port(), secrets.token_hex()
    log = folder / f"{port}.log"
    flags = ("--max-num-seqs", str(setting[0]), "--max-num-batched-tokens", str(setting[1]))
    where = ("--host", "127.0.0.1", "--port", str(port))
    command = [*shlex.split(given.engine_command), given.model, *flags, *where, *SWITCHES, *ours]
    env = {
        "PYTHONPATH": str(INSIDE),
        "PARETUNE_TOKEN": token,
        "VLLM_SERVER_DEV_MODE": "1",  # /pause
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env=os.environ | env, start_new_session=True
        )
    # Before it has started anything of its own, which then stays there too.
    os.sched_setaffinity(process.pid, ENGINE_CORES)
    engine = Engine(port, given.model, log, token)
    try:
        await_ready(engine, process)
        yield engine
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def await_ready(engine: Engine, process: "subprocess.Popen[bytes]") -> None:
    give_up_s = time.monotonic() + READY_WITHIN_S
    while process.poll() is None and time.monotonic() < give_up_s:
        try:
            engine.ask("GET", "/health")
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise SystemExit(f"The engine must become ready, but did not:\n{tail(engine.log)}")


def tail(log: Path) -> str:
    return log.read_text("utf-8", errors="replace")[-3000:]


def steps(engine: Engine) -> list[tuple[str, ...]]:
    """By vLLM's own account: requests and tokens of every step, prompts and answers apart."""
    before = len(STEP.findall(engine.log.read_text("utf-8")))
    with ThreadPoolExecutor(len(QUEUED)) as threads:
        engine.ask("POST", "/pause?mode=keep")
        for request in QUEUED:
            # One after the other, so that they queue in this order.
            added = engine.added()
            threads.submit(engine.complete, *request)
            while engine.added() == added:
                time.sleep(0.002)
        engine.ask("POST", "/resume")
    found = STEP.findall(engine.log.read_text("utf-8"))[before:]
    return [step for step in found if set(step) != {"0"}]


def timed(engine: Engine, given: argparse.Namespace, repeat: int) -> dict[str, Any]:
    """One run of the offered load; the same requests every time, with other prompts."""
    requests = tuple(
        Request(number / given.request_rate, 128 + 37 * number % 257, 32 + 13 * number % 65)
        for number in range(given.requests)
    )
    load = Load(workload=Workload(name="live-against-fresh", requests=requests))
    server = client.Server(
        url=f"http://127.0.0.1:{engine.port}", model=engine.model, vocab_size=given.vocab_size
    )
    pressure = cpu_pressure_avg10_percent()
    salt = f"{repeat} {secrets.token_hex(4)}"
    try:
        warm = (client.at_once(load.workload), client.every_step(load.workload, MAX_MODEL_LEN))
        for number, before in enumerate(warm):
            client.offer(server, before, salt=f"{salt} warm {number}", cores=CLIENT_CORES)
        run = client.offer(server, load, salt=salt, cores=CLIENT_CORES)
    except EngineError as error:
        return {"void": str(error)}
    completed = [result for result in run.results if result.completed]
    busy = (pressure or 0.0) > VOID_ABOVE_PERCENT
    return {
        # While it runs, its own processes wait for cores: the look before it is what counts.
        "void": f"The machine was busy: {pressure} % CPU pressure." if busy else None,
        "completed": len(completed),
        "mean_ttft_ms": round(mean(r.ttft_ms or 0 for r in completed), 3),
        "mean_tpot_ms": round(mean(r.tpot_ms or 0 for r in completed), 3),
        "output_throughput": round(sum(r.output_tokens for r in completed) / run.duration_s, 3),
        "cpu_pressure_avg10_percent": [pressure, cpu_pressure_avg10_percent()],
    }


def summarized(runs: list[dict[str, Any]]) -> dict[str, Any]:
    kept = [run for run in runs if not run["void"]]
    figures: dict[str, Any] = {"runs": len(runs), "void": len(runs) - len(kept)}
    for name in ("mean_ttft_ms", "mean_tpot_ms", "output_throughput"):
        values = [run[name] for run in kept]
        figures[name] = {
            "mean": round(mean(values), 3) if values else None,
            "standard_deviation": round(stdev(values), 3) if len(values) > 1 else None,
        }
    return figures


def measure(given: argparse.Namespace) -> Mapping[str, Any]:
    compared = []
    with TemporaryDirectory() as name, launched(given, Path(name), CAPS, *OURS) as live:
        for setting in SETTINGS:
            runs: dict[str, list[dict[str, Any]]] = {"fresh": [], "live": []}
            identical, length = True, 0
            for repeat in range(given.repeats):
                with launched(given, Path(name), setting) as fresh:
                    live.turn(*setting)
                    if not repeat:
                        expected, found = steps(fresh), steps(live)
                        identical, length = expected == found, len(expected)
                    # Whoever goes first goes second the next time.
                    for which in ("fresh", "live")[:: 1 if repeat % 2 else -1]:
                        engine = fresh if which == "fresh" else live
                        await_quiet(given.quiet_within)
                        runs[which].append(timed(engine, given, repeat))
            compared.append(
                {
                    "max_num_seqs": setting[0],
                    "max_num_batched_tokens": setting[1],
                    "steps": length,
                    "identical_steps": identical,
                    **{which: summarized(found) for which, found in runs.items()},
                    "runs": runs,
                }
            )
    return {"requests_per_s": given.request_rate, "settings": compared}


def await_quiet(within_s: float) -> None:
    """Wait until nothing else wants the cores, but not for ever."""
    give_up_s = time.monotonic() + within_s
    while (cpu_pressure_avg10_percent() or 0.0) > VOID_ABOVE_PERCENT:
        if time.monotonic() > give_up_s:
            return
        time.sleep(1.0)


def main() -> None:
    parser = options(__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--engine-command", required=True, metavar="COMMAND")
    parser.add_argument("--model", required=True, metavar="DIR")
    parser.add_argument("--vocab-size", type=int, default=4096, metavar="N")
    parser.add_argument("--repeats", type=int, default=5, metavar="N")
    parser.add_argument("--requests", type=int, default=120, metavar="N")
    parser.add_argument("--request-rate", type=float, default=4.0, metavar="R")
    parser.add_argument("--quiet-within", type=float, default=120.0, metavar="SECONDS")
    given = parser.parse_args()
    publish(lambda: measure(given), given.out)


if __name__ == "__main__":
    main()
