"""A surface of live settings on one real vLLM, recorded for comparisons of searches.

    python -m benchmarks.record_surface --model DIR --engine-command "DIR/bin/vllm serve"
    python -m benchmarks.record_surface --table FILE

One engine, launched once and retuned between the runs. Each repeat is every setting under both
loads in another order, so that whatever the machine does meanwhile befalls all of them. Run again,
it goes on where it stopped, on another launch, and repeats runs during which other programs took
more than a share of the cores.
"""

import argparse
import math
import os
import random
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean, stdev
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.machine import cpu_pressure_avg10_percent, machine, others_cpu_s
from benchmarks.real_engine import launch_on_cpu, vllm_options
from benchmarks.recording import (
    LOADS,
    Due,
    Header,
    Launched,
    LoadName,
    Recording,
    Run,
    Setting,
    append,
    compress,
    read_recording,
)
from objectives import Load, Workload
from objectives.arrivals import Empirical, Synthetic, poisson
from runners import EngineError, FailureKind
from runners.vllm import Launch, VllmRunner
from search_spaces.vllm import default_config, passing_on
from tuner.traces import read_trace
from tuner.traces.cuts import scaled

TRACE = Path(__file__).parents[1] / "objectives" / "presets" / "azure2023_conv.csv"
FILE = Path(__file__).parent / "recordings" / "cpu_vllm.jsonl.gz"
SEQS = (4, 8, 16, 32, 64, 128, 256)
BUDGETS_TOKENS = (32, 128, 512, 2048)
"""vLLM's defaults on a CPU are 128 and 2048."""
MAX_MODEL_LEN = 2048
WARM_REQUESTS = 48
"""Of each setting before anything counts: steps of other sizes are met here."""
TRIES = 5
"""Of one run, where the host spoils it."""
SHOWN: tuple[tuple[LoadName, str], ...] = (
    ("saturated", "output_throughput"),
    ("saturated", "p95_e2el_ms"),
    ("offered", "p95_ttft_ms"),
    ("offered", "p95_tpot_ms"),
    ("offered", "p95_e2el_ms"),
)
HIGHEST_IS_BEST = "output_throughput"


def grid() -> tuple[Setting, ...]:
    """Every pair that keeps vLLM's rule: a step has a token for each of its requests."""
    return tuple(Setting(s, t) for s in SEQS for t in BUDGETS_TOKENS if t >= s)


def schedule(settings: Sequence[Setting], *, repeats: int, seed: int) -> list[Due]:
    """Repeat by repeat, each of them every setting under every load in an order of its own."""
    order = random.Random(seed)
    pairs = [(setting, load) for setting in settings for load in LOADS]
    return [
        Due(repeat, setting, load)
        for repeat in range(repeats)
        for setting, load in order.sample(pairs, len(pairs))
    ]


def left(recording: Recording, *, others_below: float) -> list[Due]:
    """What is still to be run, or again because others took more than this share of the cores."""
    header = recording.header
    done = {run.due for run in recording.runs if run.others_cpu_share <= others_below}
    whole = schedule(header.settings, repeats=header.repeats, seed=header.seed)
    return [due for due in whole if due not in done]


def traffic(*, requests: int, scale_tokens: float, seed: int) -> Workload:
    """Lengths of the chat trace, Poisson arrivals of mean rate 1."""
    trace = read_trace(TRACE)
    short = [scaled(request, scale_tokens, trace.block_tokens) for request in trace.requests]
    return Synthetic(
        lengths=Empirical(tuple((r.input_tokens, r.output_tokens) for r in short)),
        arrivals=poisson(1.0),
        source=f"lengths of {trace.name} x {scale_tokens:g}, Poisson arrivals",
    ).workload("chat", requests=requests, seed=seed)


@dataclass(frozen=True, slots=True)
class Recorder:
    """One launch, and where its runs go."""

    runner: VllmRunner
    launch: Launch
    file: Path

    def start(self, given: argparse.Namespace) -> Recording:
        """Launch and warm up; the header first, where the file has none yet."""
        pressure = cpu_pressure_avg10_percent()
        known = read_recording(self.file) if self.file.exists() else None
        workload = known.header.workload if known else _traffic(given)
        settings = known.header.settings if known else grid()[: given.settings]
        with self.runner.launch(default_config(self.launch.space)) as engine:
            ready_s = engine.age_s
            engine.running.warm_up(workload)
            warm_s = engine.age_s
        self._meet(settings, workload)
        if known is None:
            append(self.file, self._header(given, settings, workload, pressure))
        append(
            self.file,
            Launched(
                launch=len(known.launches) if known else 0,
                ready_s=round(ready_s, 3),
                warm_s=round(warm_s, 3),
                cpu_pressure_avg10_percent=pressure,
            ),
        )
        return read_recording(self.file)

    def _meet(self, settings: Sequence[Setting], workload: Workload) -> None:
        few = replace(workload, requests=workload.requests[:WARM_REQUESTS])
        for setting in settings:
            self.measure(Due(0, setting, "saturated"), few.at_rate(math.inf), 0)

    def _header(
        self,
        given: argparse.Namespace,
        settings: tuple[Setting, ...],
        workload: Workload,
        pressure: float | None,
    ) -> Header:
        default = default_config(self.launch.space)
        own = Setting(int(default["max_num_seqs"]), int(default["max_num_batched_tokens"]))
        run = self.measure(Due(0, own, "saturated"), workload.at_rate(math.inf), 0)
        carried = run.measurement.metrics["request_throughput"] or 0.0
        rate = given.request_rate or round(given.share * carried, 1)
        return Header(
            date=datetime.now(UTC).date().isoformat(),
            engine=f"vllm {self.launch.installed.version}",
            model=self.launch.deployment.model.name.rpartition("/")[2],
            machine=machine(),
            cpu_pressure_avg10_percent=pressure,
            niceness=os.getpriority(os.PRIO_PROCESS, 0),
            config=default,
            settings=settings,
            repeats=given.repeats,
            seed=given.seed,
            saturated_request_throughput=round(carried, 3),
            workload=_rounded(workload.at_rate(rate)),
        )

    def record(self, recording: Recording, due: Due) -> Run:
        run = self.measure(due, recording.header.traffic(due.load), recording.launches[-1].launch)
        append(self.file, run)
        return run

    def measure(self, due: Due, workload: Workload, launch: int) -> Run:
        """
        Raises:
            EngineError: the engine died, or the host spoilt every try.
        """
        config = {**default_config(self.launch.space), **asdict(due.setting)}
        with self.runner.launch(config) as engine:
            for tries_left in reversed(range(TRIES)):
                began_s, others_s = time.monotonic(), others_cpu_s()
                try:
                    found = engine.measure(Load(workload=workload))
                except EngineError as error:
                    if error.failure.kind is not FailureKind.HOST or not tries_left:
                        raise
                    print(f"void, tried again: {error}", flush=True)
                    continue
                took_s = time.monotonic() - began_s
                share = (others_cpu_s() - others_s) / took_s / len(os.sched_getaffinity(0))
                return Run(
                    due=due,
                    launch=launch,
                    turn_s=round(took_s - found.duration_s, 3),
                    others_cpu_share=round(share, 4),
                    measurement=found,
                )
        raise AssertionError("the last try returns or raises")


def _traffic(given: argparse.Namespace) -> Workload:
    return traffic(requests=given.requests, scale_tokens=given.scale_tokens, seed=given.seed)


def _rounded(workload: Workload) -> Workload:
    """Arrival times to the microsecond, as the file holds them."""
    requests = tuple(replace(r, arrival_s=round(r.arrival_s, 6)) for r in workload.requests)
    return replace(workload, requests=requests)


def record(given: argparse.Namespace) -> None:
    plain = given.out.with_suffix("")
    plain.parent.mkdir(parents=True, exist_ok=True)
    if plain.exists() and not left(read_recording(plain), others_below=given.others_below):
        compress(plain, given.out)
        return
    with nullcontext(given.logs) if given.logs else TemporaryDirectory() as logs:
        launch = _launch(given, Path(logs))
        with VllmRunner(launch) as runner:
            recorder = Recorder(runner, launch, plain)
            recording = recorder.start(given)
            print(f"{recording.header.workload.request_rate:.1f} requests/s offered", flush=True)
            due = left(recording, others_below=given.others_below)
            for number, one in enumerate(due, start=1):
                run = recorder.record(recording, one)
                print(f"{number}/{len(due)}  {_told(run)}", flush=True)
    compress(plain, given.out)
    print("\n".join(table(read_recording(given.out))))


def _launch(given: argparse.Namespace, logs: Path) -> Launch:
    launch = launch_on_cpu(given, logs, max_model_len=MAX_MODEL_LEN)
    if given.dtype is None:
        return launch
    return replace(launch, space=passing_on(launch.space, "dtype", given.dtype))


def _told(run: Run) -> str:
    due, metrics = run.due, run.measurement.metrics
    figures = (
        f"{name} {metrics[name] or 0.0:.1f}"
        for name in ("duration_s", "output_throughput", "p95_ttft_ms", "p95_e2el_ms")
    )
    knobs = f"{due.setting.max_num_seqs}, {due.setting.max_num_batched_tokens}"
    others = f"others {run.others_cpu_share:.0%}"
    return f"repeat {due.repeat}  {knobs}  {due.load}  {'  '.join(figures)}  {others}"


def table(recording: Recording) -> Iterator[str]:
    """Every setting's figures as Markdown, mean ± standard deviation of the repeats; in bold what
    cannot be told from the best of its column."""
    columns = [_column(recording, load, metric) for load, metric in SHOWN]
    heads = [f"{load} {metric}" for load, metric in SHOWN]
    yield f"| `max_num_seqs`, `max_num_batched_tokens` | {' | '.join(heads)} |"
    yield "|---" * (1 + len(SHOWN)) + "|"
    for index, setting in enumerate(recording.header.settings):
        cells = [column[index] for column in columns]
        knobs = f"{setting.max_num_seqs}, {setting.max_num_batched_tokens}"
        yield f"| {knobs} | {' | '.join(cells)} |"


def _column(recording: Recording, load: LoadName, metric: str) -> list[str]:
    found = [
        [run.measurement.metrics[metric] or 0.0 for run in recording.of(setting, load)]
        for setting in recording.header.settings
    ]
    tied = tied_with_best(found, highest=metric == HIGHEST_IS_BEST)
    return [_cell(values, best) for values, best in zip(found, tied, strict=True)]


def tied_with_best(found: Sequence[Sequence[float]], *, highest: bool) -> list[bool]:
    """Whether a setting's mean is within two standard errors of their difference of the best.

    The standard deviation is pooled over the settings, as a share of the mean: of three repeats
    alone none can be told.
    """
    means = [mean(values) for values in found]
    best = max(means) if highest else min(means)
    share = pooled_share(found)
    repeats = min(len(values) for values in found)
    return [
        abs(about - best) <= 2 * share * math.hypot(about, best) / math.sqrt(repeats)
        for about in means
    ]


def pooled_share(found: Sequence[Sequence[float]]) -> float:
    """The standard deviation between repeats as a share of the mean, over all settings."""
    shares = [stdev(values) / mean(values) for values in found if len(values) > 1]
    return math.sqrt(mean(share**2 for share in shares)) if shares else 0.0


def _cell(values: Sequence[float], best: bool) -> str:
    digits = 1 if mean(values) < 100 else 0
    noise = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
    text = f"{mean(values):.{digits}f}{noise}"
    return f"**{text}**" if best else text


class _PrintTable(argparse.Action):
    """Prints the table of a recording and ends, as ``--help`` does."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        print("\n".join(table(read_recording(Path(values)))))
        parser.exit()


def main() -> None:
    parser = vllm_options(__doc__)
    parser.set_defaults(out=FILE)
    parser.add_argument("--requests", type=int, default=300, metavar="N")
    parser.add_argument("--scale-tokens", type=float, default=0.04, metavar="F")
    parser.add_argument("--request-rate", type=float, metavar="R")
    parser.add_argument(
        "--share", type=float, default=0.65, metavar="F", help="of what the default config carries"
    )
    parser.add_argument(
        "--dtype", metavar="TEXT", help="float32: several times as fast where the CPU lacks bf16"
    )
    parser.add_argument("--settings", type=int, metavar="N", help="the first N of the grid alone")
    parser.add_argument("--repeats", type=int, default=3, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--others-below", type=float, default=0.1, metavar="F")
    parser.add_argument("--logs", type=Path, metavar="DIR", help="keep the engine's logs there")
    parser.add_argument(
        "--table", action=_PrintTable, metavar="FILE", help="print a recording's table"
    )
    given = parser.parse_args()
    # So that the engine is ended, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    record(given)


if __name__ == "__main__":
    main()
