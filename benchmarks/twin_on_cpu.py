"""The twin calibrated on some configs of a real vLLM, and held against it on others.

    python -m benchmarks.twin_on_cpu --model DIR --engine-command "DIR/bin/vllm serve" --out FILE
    python -m benchmarks.twin_on_cpu --table FILE

One engine, launched once and retuned between the runs; the configs take turns, so that whatever
the machine does meanwhile befalls all of them. Every second config is held out beforehand: the
twin's steps are fitted to the steps of the others' runs alone, and its parameters to their
measurements, by the functions of `tune calibrate`. Void where the machine is busy at the start.
"""

import argparse
import json
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from statistics import mean, stdev
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.machine import cpu_pressure_avg10_percent, publish
from benchmarks.real_engine import launch_on_cpu, vllm_options
from objectives import Load, Measurement, Workload
from objectives.arrivals import Synthetic, Uniform, poisson
from runners import EngineError, FailureKind
from runners.simulated.calibration import (
    Calibration,
    FittedSteps,
    Interval,
    Probe,
    fit,
    intervals,
    learn,
    predict,
    prior_of_fit,
)
from runners.simulated.calibration.probes import COMPARED, TAILS, TPOT, TTFT, twin
from runners.simulated.kv_cache import BLOCK_TOKENS
from runners.step_log import Step, read_step_log
from runners.vllm import Launch, VllmRunner
from search_spaces import Config

KNOBS = (
    "max_num_seqs",
    "max_num_batched_tokens",
    "batch_wait_timeout_ms",
    "long_prefill_token_threshold",
)
CONFIGS = (
    (4, 2048, 0, 0),
    (6, 512, 0, 0),
    (8, 128, 0, 0),
    (12, 256, 0, 64),
    (16, 256, 20, 0),
    (32, 128, 0, 0),
    (64, 2048, 0, 64),
    (16, 1024, 50, 0),
    (128, 512, 200, 0),
    (128, 2048, 0, 128),
)
"""Values of ``KNOBS``; from batches that cannot keep up with the load to some that never fill."""
OBSERVED = (*COMPARED, *TAILS[TTFT], *TAILS[TPOT])
JUDGED = {TPOT: "TPOT, ms", "output_throughput": "output tokens/s", TTFT: "TTFT, ms"}
WARM_REQUESTS = 48
"""Of each config before anything counts: the engine is warmed up as it was launched, and meets
steps of other sizes here."""
VOID_ABOVE_PERCENT = 5.0
KV_CAPACITY = "kv_capacity_tokens"


def held_out(index: int) -> bool:
    """Whether a config is predicted; the others are calibrated on."""
    return index % 2 == 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One config once under the load."""

    index: int
    began_s: float
    """On the clock of the step log."""
    ended_s: float
    cpu_pressure_percent: float | None
    """Just before; the engine's own from the run before is in it."""
    metrics: Mapping[str, float | None]


def measure(given: argparse.Namespace) -> Mapping[str, Any]:
    pressure = cpu_pressure_avg10_percent()
    workload = traffic(given)
    with TemporaryDirectory() as folder:
        logs = given.logs or Path(folder)
        launch = launch_on_cpu(given, logs, max_model_len=2048)
        base = launch.space.default()
        configs = [{**base, **dict(zip(KNOBS, knobs, strict=True))} for knobs in CONFIGS]
        runs, void = _runs(launch, configs, workload, repeats=given.repeats, seed=given.seed)
        steps = [step for log in sorted(logs.glob("steps-*.csv")) for step in read_step_log(log)]
    return {
        "vllm": launch.installed.version,
        "model": launch.deployment.model.name.rpartition("/")[2],
        "requests": len(workload.requests),
        "request_rate_per_s": given.request_rate,
        "mean_input_tokens": mean(r.input_tokens for r in workload.requests),
        "mean_output_tokens": mean(r.output_tokens for r in workload.requests),
        "repeats": given.repeats,
        "void": pressure is None or pressure > VOID_ABOVE_PERCENT,
        "void_runs": void,
        **compared(configs, workload, runs, steps),
        "runs": [asdict(run) for run in runs],
    }


def traffic(given: argparse.Namespace) -> Workload:
    return Synthetic(
        lengths=(Uniform(given.input_tokens, 0.25), Uniform(given.output_tokens, 0.25)),
        arrivals=poisson(given.request_rate),
    ).workload("twin on CPU", requests=given.requests, seed=given.seed)


def _runs(
    launch: Launch, configs: Sequence[Config], workload: Workload, *, repeats: int, seed: int
) -> tuple[list[Run], list[str]]:
    """Every config in turn, in another order each time; and why runs say nothing of theirs."""
    found: list[Run] = []
    void: list[str] = []
    few = replace(workload, requests=workload.requests[:WARM_REQUESTS])
    order = random.Random(seed)
    with VllmRunner(launch) as runner:
        for config in configs:
            _run(runner, config, few)
        for _ in range(repeats):
            for index in order.sample(range(len(configs)), len(configs)):
                pressure, began_s = cpu_pressure_avg10_percent(), time.monotonic()
                told = _run(runner, configs[index], workload)
                if isinstance(told, str):
                    void.append(told)
                    continue
                found.append(
                    Run(
                        index=index,
                        began_s=began_s,
                        ended_s=time.monotonic(),
                        cpu_pressure_percent=pressure,
                        metrics={
                            name: told.metrics.get(name) for name in (*OBSERVED, KV_CAPACITY)
                        },
                    )
                )
    return found, void


def _run(runner: VllmRunner, config: Config, workload: Workload) -> Measurement | str:
    """Why, where the run says nothing of the engine, which is kept."""
    with runner.launch(config) as engine:
        try:
            return engine.measure(Load(workload=workload))
        except EngineError as error:
            if error.failure.kind is not FailureKind.HOST:
                raise
            return str(error)


def compared(
    configs: Sequence[Config], workload: Workload, runs: Sequence[Run], steps: Sequence[Step]
) -> dict[str, Any]:
    """Calibrated on the runs that are not held out, all configs predicted."""
    learnt_runs = [run for run in runs if not held_out(run.index)]
    fitted = fit(*(during(run, steps) for run in learnt_runs))
    probes = {
        index: _probe(config, workload, fitted, [run for run in runs if run.index == index])
        for index, config in enumerate(configs)
        if any(run.index == index for run in runs)
    }
    before = replace(prior_of_fit(), steps=fitted.rows)
    after = learn([probe for index, probe in probes.items() if not held_out(index)], before)
    told = [
        {
            **{knob: configs[index][knob] for knob in KNOBS},
            "held_out": held_out(index),
            **judged(
                [run.metrics for run in runs if run.index == index],
                intervals(after, partial(predict, probe)),
                {name: predict(probe, before.parameters)[name] for name in COMPARED},
            ),
        }
        for index, probe in probes.items()
    ]
    return {
        "calibration": _learnt(after, fitted),
        "configs": told,
        "held_out": against_noise([one for one in told if one["held_out"]]),
        "calibrated_on": against_noise([one for one in told if not one["held_out"]]),
    }


def during(run: Run, steps: Sequence[Step]) -> list[Step]:
    """The steps of one run."""
    return [step for step in steps if run.began_s <= step.start_s <= run.ended_s]


def _probe(config: Config, workload: Workload, fitted: FittedSteps, runs: Sequence[Run]) -> Probe:
    capacity = runs[0].metrics[KV_CAPACITY]
    if not capacity:
        raise SystemExit("The engine must tell its KV capacity at /metrics, but does not.")
    run = twin(config, Load(workload=workload), fitted.steps, blocks=int(capacity) // BLOCK_TOKENS)
    return Probe(run, _means([one.metrics for one in runs]))


def _means(runs: Sequence[Mapping[str, float | None]]) -> dict[str, float]:
    found = {name: [value for run in runs if (value := run[name])] for name in OBSERVED}
    return {name: mean(values) for name, values in found.items() if values}


def judged(
    runs: Sequence[Mapping[str, float | None]],
    predicted: Mapping[str, Interval],
    by_steps_alone: Mapping[str, float | None],
) -> dict[str, Any]:
    """Each metric as measured over the repeats and as predicted."""
    found: dict[str, Any] = {}
    for name in JUDGED:
        values = [value for run in runs if (value := run[name])]
        about, interval = mean(values), predicted[name]
        sd = stdev(values) if len(values) > 1 else None
        alone = by_steps_alone[name]
        found[name] = {
            "measured": values,
            "mean": about,
            "standard_deviation": sd,
            "range": max(values) - min(values),
            "predicted": interval.value,
            "low": interval.low,
            "high": interval.high,
            "off_percent": 100 * (interval.value / about - 1),
            "off_in_standard_deviations": (interval.value - about) / sd if sd else None,
            "off_percent_by_steps_alone": 100 * (alone / about - 1) if alone else None,
        }
    return found


def against_noise(configs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How far predictions are off on average, beside how far repeats are from one another."""
    found: dict[str, Any] = {"configs": len(configs)}
    for name in JUDGED if configs else ():
        told = [one[name] for one in configs]
        found[name] = {
            "mean_absolute_error_percent": mean(abs(one["off_percent"]) for one in told),
            "mean_error_percent": mean(one["off_percent"] for one in told),
            "repeat_standard_deviation_percent": mean(
                100 * (one["standard_deviation"] or 0.0) / one["mean"] for one in told
            ),
            "repeat_range_percent": mean(100 * one["range"] / one["mean"] for one in told),
            "between_the_repeats": sum(
                min(one["measured"]) <= one["predicted"] <= max(one["measured"]) for one in told
            ),
            "in_90_percent_interval": sum(
                one["low"] <= one["mean"] <= one["high"] for one in told
            ),
        }
    return found


def _learnt(after: Calibration, fitted: FittedSteps) -> dict[str, Any]:
    return {
        "steps": fitted.rows,
        "step_scatter": fitted.linear.scatter,
        "coefficients": fitted.coefficients,
        "parameters": asdict(after.parameters),
        "standard_errors": after.standard_errors,
    }


def table(found: Mapping[str, Any]) -> Iterator[str]:
    """What became of the held-out configs, as Markdown."""
    heads = [f"{head}: measured | predicted | off" for head in JUDGED.values()]
    yield f"| {', '.join(f'`{knob}`' for knob in KNOBS)} | {' | '.join(heads)} |"
    yield "|---" * (1 + 3 * len(heads)) + "|"
    for one in found["configs"]:
        if one["held_out"]:
            cells = [", ".join(str(one[knob]) for knob in KNOBS)]
            for name in JUDGED:
                cells += _cells(one[name])
            yield f"| {' | '.join(cells)} |"
    yield ""
    heads = ["mean absolute error", "repeats' standard deviation", "repeats' range"]
    yield f"| {' | '.join(heads)} | in the 90 % interval |"
    yield "|---|---|---|---|"
    for name, head in JUDGED.items():
        yield _summary(head.partition(",")[0], found["held_out"][name], found["held_out"])


def _cells(one: Mapping[str, Any]) -> list[str]:
    sd, off_sd = one["standard_deviation"], one["off_in_standard_deviations"]
    digits = 2 if one["mean"] < 100 else 0
    noise = "" if sd is None else f" ± {sd:.{digits}f}"
    beside = "" if off_sd is None else f" ({off_sd:+.1f} sd)"
    return [
        f"{one['mean']:.{digits}f}{noise}",
        f"{one['predicted']:.{digits}f} ({one['low']:.{digits}f} to {one['high']:.{digits}f})",
        f"{one['off_percent']:+.1f} %{beside}",
    ]


def _summary(head: str, told: Mapping[str, Any], held: Mapping[str, Any]) -> str:
    cells = (
        f"{head}: {told['mean_absolute_error_percent']:.1f} %",
        f"{told['repeat_standard_deviation_percent']:.1f} %",
        f"{told['repeat_range_percent']:.1f} %",
        f"{told['in_90_percent_interval']} of {held['configs']}",
    )
    return f"| {' | '.join(cells)} |"


class _PrintTable(argparse.Action):
    """Prints the table of an earlier run and ends, as ``--help`` does."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        print("\n".join(table(json.loads(Path(values).read_text("utf-8")))))
        parser.exit()


def main() -> None:
    parser = vllm_options(__doc__)
    parser.add_argument("--request-rate", type=float, default=16.0, metavar="R")
    parser.add_argument("--requests", type=int, default=300, metavar="N")
    parser.add_argument("--input-tokens", type=int, default=256, metavar="N")
    parser.add_argument("--output-tokens", type=int, default=96, metavar="N")
    parser.add_argument("--repeats", type=int, default=3, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--quick", action="store_true", help="80 requests, twice: three minutes")
    parser.add_argument("--logs", type=Path, metavar="DIR", help="keep the engine's logs there")
    parser.add_argument(
        "--table", action=_PrintTable, metavar="FILE", help="print an earlier run's as Markdown"
    )
    given = parser.parse_args()
    if given.quick:
        given.requests, given.repeats = 80, 2
    publish(lambda: measure(given), given.out)


if __name__ == "__main__":
    main()
