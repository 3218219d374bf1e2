"""Four surfaces of the simulated engine made noisy: the truth is what it says without noise."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from benchmarks.known_runs import KnownRuns, version_of
from benchmarks.noisy import Noise, NoisyRunner
from benchmarks.search_efficiency import under_test
from benchmarks.search_efficiency.surface import Surface, Truth, combinations, settings_of
from objectives import Workload
from runners.simulated import SimulatedRunner
from runners.simulated.engine import launch_s
from search_spaces import Config, Deployment
from tuner.problem import Problem

EachOf = Callable[[Callable[[Any], Any], Sequence[Any]], Iterable[Any]]
"""``map``, or a pool's."""
FIXED = ("batch_wait_timeout_ms=0", "gpu_memory_utilization=0.92")
"""Searched by default; left out so that the truth of every config can be worked out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Twin:
    """What makes one of the surfaces, as options of a study."""

    objective: str
    model: str
    gpu: str
    gpus: int
    request_rate: float
    goal: Literal["throughput", "latency"]
    noise_of_run: float
    grid: tuple[tuple[str, tuple[int, ...]], ...]
    requests: int = 240
    sla: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Laid:
    """A twin as laid out."""

    twin: Twin
    problem: Problem
    deployment: Deployment

    def digest(self, *packages: str) -> str:
        """Of all that a figure of it may depend on, where these packages make it, too."""
        told = repr((self.twin, self.problem.cases, self.deployment)) + version_of(*packages)
        return sha256(told.encode()).hexdigest()[:12]


SEQS, TOKENS, CHUNKS = (16, 32, 64, 256, 1024), (512, 1024, 2048, 4096, 8192), (0, 512)


def _grid(*sizes: int) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """150 configs, at these tensor-parallel sizes."""
    return (
        ("max_num_seqs", SEQS),
        ("max_num_batched_tokens", TOKENS),
        ("long_prefill_token_threshold", CHUNKS),
        ("tensor_parallel_size", sizes),
    )


TWINS: Mapping[str, Twin] = {
    "chat-32b-h100": Twin(
        objective="chat",
        model="Qwen/Qwen2.5-32B-Instruct",
        gpu="h100_sxm",
        gpus=4,
        request_rate=7.3,
        goal="latency",
        noise_of_run=0.03,
        grid=_grid(1, 2, 4),
    ),
    "code-8b-a100": Twin(
        objective="code",
        model="meta-llama/Llama-3.1-8B-Instruct",
        gpu="a100_sxm",
        gpus=4,
        request_rate=1.8,
        goal="latency",
        noise_of_run=0.06,
        grid=_grid(1, 2, 4),
        sla="p95_ttft_ms<=280,p95_tpot_ms<=40",
    ),
    "rag-70b-h100": Twin(
        objective="rag",
        model="meta-llama/Llama-3.1-70B-Instruct",
        gpu="h100_sxm",
        gpus=8,
        request_rate=1.45,
        goal="throughput",
        noise_of_run=0.03,
        grid=_grid(2, 4, 8),
    ),
    "summarize-72b-a100": Twin(
        objective="summarize",
        model="Qwen/Qwen2.5-72B-Instruct",
        gpu="a100_sxm",
        gpus=8,
        request_rate=1.05,
        goal="throughput",
        noise_of_run=0.06,
        grid=_grid(2, 4, 8),
    ),
}
"""Of two the default keeps its promise, of two (code, rag) it does not."""


def twin_surface(name: str, cache: Path, each_of: EachOf = map) -> Surface:
    """
    Args:
        cache: the folder where truths and runs are kept.
        each_of: works out truths that are not there yet.
    """
    return surface(name, TWINS[name], cache, each_of)


def surface(name: str, twin: Twin, cache: Path, each_of: EachOf = map) -> Surface:
    laid = lay_out(twin)
    cache.mkdir(parents=True, exist_ok=True)
    # How capacity is searched decides what is true of it, too.
    truth_file = cache / f"truth-{name}-{laid.digest('tuner', 'results')}.json"
    found = _truths(laid, truth_file, each_of)
    file = cache / f"runs-{name}-{laid.digest()}.db"
    noiseless = SimulatedRunner(laid.deployment)
    runs = KnownRuns(noiseless, file)
    case = laid.problem.cases[0]
    return Surface(
        name=name,
        about=f"{twin.model} on {twin.gpus} x {twin.gpu}, {twin.objective}",
        problem=laid.problem,
        values=dict(twin.grid),
        goal=twin.goal,
        simulated=True,
        launch_s=partial(launch_s, laid.deployment),
        runner=lambda seed: NoisyRunner(runs, Noise(of_run=twin.noise_of_run), seed=seed),
        traffic=partial(_repeated, case.workload),
        truths={tuple(settings): Truth(*of) for settings, of in found["truths"]},
        measured_s=found["measured_s"],
    )


@cache
def lay_out(twin: Twin) -> Laid:
    ranges = [f"{name}={_range(name, values)}" for name, values in twin.grid]
    problem, deployment = under_test.problem_of_options(
        objective=twin.objective,
        model=twin.model,
        gpu=twin.gpu,
        gpus=twin.gpus,
        request_rate=twin.request_rate,
        requests=twin.requests,
        sla=twin.sla,
        set=FIXED,
        range=ranges,
    )
    return Laid(twin=twin, problem=problem, deployment=deployment)


def _range(name: str, values: tuple[int, ...]) -> str:
    """From the least to the most of a batch size; the others' values are few anyway."""
    sizes = name in ("max_num_seqs", "max_num_batched_tokens")
    return f"{min(values)}:{max(values)}" if sizes else ",".join(map(str, values))


def _truths(laid: Laid, file: Path, each_of: EachOf) -> Mapping[str, Any]:
    if not file.exists():
        space = laid.problem.space
        configs = combinations(space, dict(laid.twin.grid))
        configs = [config for config in configs if not space.broken_rules(config)]
        found = list(each_of(partial(_truth, laid.twin), configs))
        truths = [
            (settings_of(space, config), (*truth.values, truth.feasible))
            for config, truth in zip(configs, found, strict=True)
        ]
        measured_s = under_test.tried(
            laid.problem, SimulatedRunner(laid.deployment), laid.problem.first[0][1], 0
        ).measured_s
        partial_file = file.with_suffix(".partial")
        partial_file.write_text(json.dumps({"truths": truths, "measured_s": measured_s}), "utf-8")
        partial_file.replace(file)
    found: Mapping[str, Any] = json.loads(file.read_text("utf-8"))
    return found


def _truth(twin: Twin, config: Config) -> Truth:
    laid = lay_out(twin)
    return under_test.truth(laid.problem, SimulatedRunner(laid.deployment), config)


def _repeated(workload: Workload, requests: int) -> Workload:
    """As many of its requests as are sent, over and over."""
    longer = workload.lasting(0.0, requests=requests)
    return replace(longer, requests=longer.requests[:requests])
