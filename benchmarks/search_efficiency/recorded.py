"""One surface of a real vLLM on a CPU: every live setting recorded several times under two loads.

A trial draws one of the repeats. Recorded are the workload at its own rate and all of it at once,
so throughput is what is served at once, latency the 95th percentile of E2EL at the rate, and
nothing is promised. Whatever else is offered is answered by the one of the two that is nearer.
"""

import math
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import mean

from scipy.stats import ttest_ind

from benchmarks.noisy import until_over
from benchmarks.recording import LoadName, Recording, Setting, read_recording
from benchmarks.search_efficiency.surface import Surface, Truth, combinations, settings_of
from objectives import Load, Measurement, Profile, Quadrant
from runners import Description
from search_spaces import Config, Int, Knob, Rule, SearchSpace
from tuner.problem import Case, Problem

FILE = Path(__file__).parents[1] / "recordings" / "cpu_vllm.jsonl.gz"
NAME = "vllm-cpu"
SEQS, TOKENS = "max_num_seqs", "max_num_batched_tokens"
LEVEL = 0.05
"""Of the test that tells a config's repeats from the best config's."""


def recorded(file: Path = FILE) -> Surface:
    """
    Raises:
        ValueError: no recording, or one with gaps.
    """
    return surface(read_recording(file))


def surface(recording: Recording) -> Surface:
    header = recording.header
    case = Case(
        profile=Profile(name="recorded", quadrant=Quadrant.BULK, sla=()), workload=header.workload
    )
    space = _space(recording)
    runner = partial(_runner, recording)
    default = Setting(int(header.config[SEQS]), int(header.config[TOKENS]))
    return Surface(
        name=NAME,
        about=f"{header.engine}, {header.model}, {header.workload.name}",
        problem=Problem(
            objective="recorded",
            cases=(case,),
            gpus=1,
            space=space,
            first=(("default", space.default()),),
            seed=0,
            noiseless=False,
        ),
        values=_values(recording, space),
        goal="throughput",
        simulated=False,
        launch_s=lambda config: recording.launches[0].warm_s,
        runner=runner,
        traffic=lambda requests: header.workload,
        truths=_truths(recording),
        measured_s=sum(
            mean(run.measurement.duration_s + run.turn_s for run in recording.of(default, load))
            for load in ("offered", "saturated")
        ),
    )


def _values(recording: Recording, space: SearchSpace) -> Mapping[str, tuple[int, ...]]:
    """The grid, all of which must have been recorded."""
    known = {(s.max_num_seqs, s.max_num_batched_tokens) for s in recording.header.settings}
    values = {
        SEQS: tuple(sorted({seqs for seqs, _ in known})),
        TOKENS: tuple(sorted({tokens for _, tokens in known})),
    }
    kept = [c for c in combinations(space, values) if not space.broken_rules(c)]
    if gaps := {settings_of(space, config) for config in kept} - known:
        raise ValueError(
            "A recording must hold every pair of its settings that keeps the rule, but "
            f"{min(gaps)} is not there; record it."
        )
    return values


def _truths(recording: Recording) -> Mapping[tuple[int, int], Truth]:
    """Means over the repeats."""
    served = {s: _each(recording, s, "saturated") for s in recording.header.settings}
    best = max(served.values(), key=mean)
    return {
        (setting.max_num_seqs, setting.max_num_batched_tokens): Truth(
            throughput=mean(throughputs),
            latency_ms=mean(_each(recording, setting, "offered")),
            feasible=True,
            as_good=throughputs is best or _alike(throughputs, best),
        )
        for setting, throughputs in served.items()
    }


def _each(recording: Recording, setting: Setting, load: LoadName) -> list[float]:
    """Output throughput all at once, or p95 E2EL at the rate, of each repeat."""
    metric = "output_throughput_per_gpu" if load == "saturated" else "p95_e2el_ms"
    return [float(run.measurement.metric(metric) or 0.0) for run in recording.of(setting, load)]


def _alike(mine: list[float], best: list[float]) -> bool:
    """By Welch's test."""
    return bool(ttest_ind(mine, best, equal_var=False).pvalue > LEVEL)


def _space(recording: Recording) -> SearchSpace:
    settings, config = recording.header.settings, recording.header.config
    seqs = [setting.max_num_seqs for setting in settings]
    tokens = [setting.max_num_batched_tokens for setting in settings]
    least = min(tokens)
    knobs = (
        Knob(
            name=SEQS,
            default=config[SEQS],
            domain=Int(low=min(seqs), high=max(seqs), log=True),
            about="most requests in one batch",
            turn="live",
        ),
        Knob(
            name=TOKENS,
            default=config[TOKENS],
            domain=Int(low=least, high=max(tokens), step=least),
            about="most tokens computed in one step",
            turn="live",
        ),
    )
    enough = Rule(
        f"{TOKENS} >= {SEQS}",
        "a step must be able to give every running request a token",
        lambda c: int(c[TOKENS]) >= int(c[SEQS]),
    )
    return SearchSpace(
        engine="vllm",
        knobs=knobs,
        searched={knob.name: knob.domain for knob in knobs},
        fixed={},
        derive=lambda config: {},
        rules=(enough,),
    )


@dataclass(slots=True)
class RecordedEngine:
    """One setting: each run is one of its repeats."""

    recording: Recording
    setting: Setting
    rng: random.Random
    age_s: float = 0.0
    fresh: bool = True

    def measure(self, load: Load) -> Measurement:
        timed = load.workload.concurrency is None and math.isfinite(load.workload.request_rate)
        run = self.rng.choice(self.recording.of(self.setting, "offered" if timed else "saturated"))
        found = run.measurement
        if load.watch:
            found = until_over(load, list(found.results))
        self.age_s += found.duration_s + run.turn_s
        return found


@dataclass(slots=True)
class RecordedRunner:
    """Hands out settings; how long a launch takes is for others to say."""

    recording: Recording
    rng: random.Random
    description: Description

    @contextmanager
    def launch(self, config: Config) -> Iterator[RecordedEngine]:
        setting = Setting(int(config[SEQS]), int(config[TOKENS]))
        yield RecordedEngine(self.recording, setting, self.rng)


def _runner(recording: Recording, seed: int) -> RecordedRunner:
    about = Description(
        engine="recorded",
        version=recording.header.engine,
        simulated=False,
        uncertainty="each figure is of one recorded run",
        noiseless=False,
    )
    return RecordedRunner(recording, random.Random(seed), about)
