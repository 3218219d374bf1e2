"""The throughput-latency frontier by batch size, tensor parallelism and scheduling, on the twin.

    python -m benchmarks.twin_frontier [--pictures DIR] [--out JSON]

What the articles draw, for models and GPUs that can be named: batch sizes 1 to 64; what of a
step at TP 1, 2, 4, 8 is all-reduce; four schedulers on 70B and 180B models over the offered rate.
The pictures need Matplotlib, which comes with MLflow.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.machine import options
from benchmarks.twin_capacity import CASES, SYSTEMS, Case, offered, slos, traffic
from objectives import Load
from objectives.arrivals import ClosedLoop, Fixed, Synthetic
from runners.simulated import SimulatedRunner
from runners.simulated.catalogue import gpu, model
from runners.simulated.roofline import Roofline
from runners.simulated.step_times import step_time
from search_spaces import Deployment
from search_spaces.vllm import vllm_space

BATCHES = (1, 2, 4, 8, 16, 32, 64)
FRONTIERS = (
    ("meta-llama/Llama-3.1-8B-Instruct", "a100_sxm", 1),
    ("meta-llama/Llama-3.1-8B-Instruct", "h100_sxm", 1),
    ("nvidia/Llama-3.3-70B-Instruct-FP8", "h100_sxm", 4),
)
PROMPT_TOKENS, ANSWER_TOKENS = 512, 256
ROUNDS = 8
SPLIT_MODEL, SPLIT_GPUS = "nvidia/Llama-3.3-70B-Instruct-FP8", ("h100_sxm", "h200_sxm")
SPLIT_BATCHES, SPLIT_KV_TOKENS = (1, 16, 64), 1024
TP_SIZES = (1, 2, 4, 8)
POLICY_CASES = ("llama-2-70b", "falcon-180b")
RATES = (0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.5, 2.0)


def batch_sizes(name: str, gpu_name: str, gpus: int) -> list[dict[str, float]]:
    """Closed loops of as many requests as the batch holds, vLLM's own policy."""
    deployment = Deployment(
        model=model(name),
        gpu=gpu(gpu_name),
        gpus=gpus,
        max_model_len=PROMPT_TOKENS + ANSWER_TOKENS,
    )
    print(f"{name} on {gpus} x {gpu_name}, {PROMPT_TOKENS} in, {ANSWER_TOKENS} out, by batch size")
    points = []
    for batch in BATCHES:
        space = vllm_space(deployment).fix("max_num_seqs", batch)
        space = space.fix("tensor_parallel_size", gpus).fix("enable_prefix_caching", False)
        recipe = Synthetic(
            lengths=(Fixed(PROMPT_TOKENS), Fixed(ANSWER_TOKENS)), arrivals=ClosedLoop(batch)
        )
        load = Load(workload=recipe.workload("batch", requests=ROUNDS * batch, seed=0))
        with SimulatedRunner(deployment).launch(space.default()) as engine:
            told = engine.measure(load).metrics
        names = ("output_throughput", "mean_ttft_ms", "mean_tpot_ms", "mean_e2el_ms")
        points.append({"batch": batch} | {name: round(told[name] or 0.0, 2) for name in names})
        print(
            f"  {batch:3}: {points[-1]['output_throughput']:8.1f} tokens/s, TTFT "
            f"{points[-1]['mean_ttft_ms']:7.1f} ms, TPOT {points[-1]['mean_tpot_ms']:6.2f} ms, "
            f"latency {points[-1]['mean_e2el_ms']:7.0f} ms",
            flush=True,
        )
    first, last = points[0], points[-1]
    print(
        f"  batch 64 over 1: {last['output_throughput'] / first['output_throughput']:.1f} x the "
        f"throughput at {last['mean_e2el_ms'] / first['mean_e2el_ms']:.1f} x the latency"
    )
    return points


def split(gpu_name: str, tp: int, batch: int) -> dict[str, float] | None:
    """One decode step and what of it is all-reduce; ``None`` where it does not fit."""
    deployment = Deployment(
        model=model(SPLIT_MODEL), gpu=gpu(gpu_name), gpus=tp, max_model_len=2 * SPLIT_KV_TOKENS
    )
    held = deployment.kv_capacity_tokens(
        tensor_parallel_size=tp,
        gpu_memory_utilization=0.9,
        max_num_batched_tokens=8192,
        max_num_seqs=batch,
    )
    if held < batch * SPLIT_KV_TOKENS:
        return None
    step = (0, 0, 0, batch, batch * SPLIT_KV_TOKENS)
    roofline = Roofline(deployment, tensor_parallel_size=tp)
    step_ms, communication_ms = roofline.step_ms(*step), roofline.communication_ms(batch)
    kernels_ms = step_time(deployment, tensor_parallel_size=tp).step_ms(*step)
    return {
        "tensor_parallel_size": tp,
        "batch": batch,
        "step_ms": round(step_ms, 3),
        "communication_ms": round(communication_ms, 3),
        "communication_share": round(communication_ms / step_ms, 4),
        "tokens_per_s_per_gpu": round(1000 * batch / step_ms / tp, 1),
        "measured_kernels_step_ms": round(kernels_ms, 3),
    }


def tensor_parallelism(gpu_name: str) -> list[dict[str, float]]:
    print(f"{SPLIT_MODEL} on {gpu_name}: one decode step at {SPLIT_KV_TOKENS} tokens of context")
    found = []
    for batch in SPLIT_BATCHES:
        for tp in TP_SIZES:
            told = split(gpu_name, tp, batch)
            if told is None:
                print(f"  batch {batch:3}, TP {tp}: its KV cache does not fit beside the weights")
                continue
            found.append(told)
            print(
                f"  batch {batch:3}, TP {tp}: {told['step_ms']:6.2f} ms, of it all-reduce "
                f"{told['communication_ms']:5.2f} ms ({told['communication_share']:5.1%}); "
                f"{told['tokens_per_s_per_gpu']:7.1f} tokens/s/GPU; by measured kernels "
                f"{told['measured_kernels_step_ms']:6.2f} ms"
            )
    return found


def schedulers(case: Case, requests: int) -> dict[str, list[dict[str, float]]]:
    """Each scheduler over the offered rate, Sarathi and vLLM V1 with a token budget of 512."""
    print(f"{case.model} on {case.gpus} x {case.gpu}, chat lengths of Sarathi-Serve's Table 2")
    workload, slo = traffic(requests, seed=0), slos(case)[0]
    found: dict[str, list[dict[str, float]]] = {}
    for name, system in SYSTEMS.items():
        found[name] = []
        for rate in RATES:
            told = offered(case, system, slo, workload, rate)
            found[name].append({key: round(value, 4) for key, value in asdict(told).items()})
            print(
                f"  {name:8} {rate:4.2f} requests/s: P99 TBT {told.p99_tbt_s:6.3f} s, median "
                f"TTFT {told.median_ttft_s:8.2f} s, {told.output_tokens_per_s:7.1f} tokens/s",
                flush=True,
            )
    return found


def measure(requests: int) -> Mapping[str, Any]:
    return {
        "batch_sizes": {
            f"{name}, {gpus} x {on}": batch_sizes(name, on, gpus) for name, on, gpus in FRONTIERS
        },
        "tensor_parallelism": {name: tensor_parallelism(name) for name in SPLIT_GPUS},
        "schedulers": {name: schedulers(CASES[name], requests) for name in POLICY_CASES},
    }


def draw(found: Mapping[str, Any], folder: Path) -> None:
    """One SVG per finding, the same bytes every time."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams |= {
        "svg.hashsalt": "paretune",
        "svg.fonttype": "none",
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    folder.mkdir(parents=True, exist_ok=True)
    _draw_frontiers(found["batch_sizes"], folder / "twin-frontier.svg")
    for name, points in found["tensor_parallelism"].items():
        _draw_split(name, points, folder / f"twin-tensor-parallelism-{name}.svg")
    for name, curves in found["schedulers"].items():
        _draw_schedulers(name, curves, folder / f"twin-schedulers-{name}.svg")


def _draw_frontiers(frontiers: Mapping[str, Any], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4))
    axes = figure.subplots()
    for name, points in frontiers.items():
        seconds = [point["mean_e2el_ms"] / 1000 for point in points]
        rates = [point["output_throughput"] for point in points]
        axes.plot(seconds, rates, marker="o", markersize=3, label=name.rpartition("/")[2])
        for point, x, y in zip(points, seconds, rates, strict=True):
            axes.annotate(
                str(point["batch"]), (x, y), xytext=(3, -9), textcoords="offset points", fontsize=7
            )
    axes.set(
        xlabel="mean latency of a request, s",
        ylabel="output tokens/s",
        yscale="log",
        title=f"Batch sizes 1 to 64, {PROMPT_TOKENS} in, {ANSWER_TOKENS} out (simulated)",
    )
    axes.legend(frameon=False)
    _save(figure, path)


def _draw_split(name: str, points: Sequence[Mapping[str, float]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.4))
    for axes, batch in zip(figure.subplots(1, len(SPLIT_BATCHES)), SPLIT_BATCHES, strict=True):
        there = [point for point in points if point["batch"] == batch]
        sizes = [str(int(point["tensor_parallel_size"])) for point in there]
        rest = [point["step_ms"] - point["communication_ms"] for point in there]
        axes.bar(sizes, rest, color="tab:blue", label="compute and memory")
        axes.bar(
            sizes,
            [point["communication_ms"] for point in there],
            bottom=rest,
            color="tab:orange",
            label="all-reduce",
        )
        for at, point in enumerate(there):
            text = f"{point['tokens_per_s_per_gpu']:.0f}"
            axes.annotate(text, (at, point["step_ms"]), ha="center", va="bottom", fontsize=7)
        axes.set(xlabel="GPUs (TP)", title=f"batch {batch}")
        axes.margins(y=0.12)
        if batch == SPLIT_BATCHES[0]:
            axes.set_ylabel("ms per decode step")
    axes.legend(frameon=False, fontsize=7)
    figure.suptitle(f"70B fp8 on {name}: a decode step; above it tokens/s/GPU (roofline)")
    _save(figure, path)


def _draw_schedulers(name: str, curves: Mapping[str, Any], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.4))
    left, right = figure.subplots(1, 2)
    for scheduler, points in curves.items():
        rates = [point["request_rate"] for point in points]
        # vLLM V1 does as Sarathi does: dashes let both be seen.
        style = {"marker": ".", "linestyle": "--" if scheduler == "vLLM V1" else "-"}
        left.plot(rates, [point["p99_tbt_s"] for point in points], label=scheduler, **style)
        right.plot(rates, [point["median_ttft_s"] for point in points], **style)
    left.set(xlabel="requests/s", ylabel="P99 time between tokens, s", yscale="log")
    right.set(xlabel="requests/s", ylabel="median TTFT, s", yscale="log")
    left.legend(frameon=False, fontsize=7)
    case = CASES[name]
    figure.suptitle(f"{case.model.rpartition('/')[2]} on {case.gpus} x {case.gpu} (simulated)")
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--requests", type=int, default=256, metavar="N")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="write the SVGs here")
    given = parser.parse_args()
    found = measure(given.requests)
    if given.out is not None:
        given.out.write_text(json.dumps(found, indent=2, allow_nan=False) + "\n", "utf-8")
    if given.pictures is not None:
        draw(found, given.pictures)


if __name__ == "__main__":
    main()
