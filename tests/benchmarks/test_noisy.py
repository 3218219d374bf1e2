import math
import random
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import correlation, stdev

import pytest

from benchmarks.known_runs import KnownRuns
from benchmarks.noisy import Noise, NoisyRunner, until_over
from objectives import Load, Measurement, Request, RequestResult, Workload
from runners import Runner
from runners.simulated import SimulatedRunner
from runners.simulated.catalogue import gpu, model
from runners.simulated.step_table import Tabled
from runners.testing import RunnerContract
from search_spaces import Config, Deployment
from search_spaces.vllm import default_config, vllm_space

DEPLOYMENT = Deployment(
    model=model("meta-llama/Llama-3.2-1B-Instruct"), gpu=gpu("l4"), gpus=2, max_model_len=1024
)
CONFIG: Config = {**default_config(vllm_space(DEPLOYMENT)), "max_num_seqs": 8}
BUSY = Workload(
    name="busy", requests=tuple(Request(0.02 * i, 100 + 7 * i, 20 + i) for i in range(60))
)
QUIET = Noise(of_run=0.0, of_request=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slower(Noise):
    """Always slower by one factor, all requests alike."""

    factor: float = 2.0
    of_request: float = 0.0

    def run_factor(self, rng: random.Random, request_rate: float = math.inf) -> float:
        return self.factor


def noisy(noise: Noise, seed: int = 0) -> NoisyRunner:
    return NoisyRunner(KnownRuns(SimulatedRunner(DEPLOYMENT)), noise, seed=seed)


def measured(runner: Runner, *loads: Load, config: Config = CONFIG) -> list[Measurement]:
    with runner.launch(config) as engine:
        return [engine.measure(load) for load in loads]


class TestNoisyRunner(RunnerContract):
    @pytest.fixture
    def runner(self) -> Runner:
        return noisy(Noise())

    @pytest.fixture
    def config(self) -> Config:
        return CONFIG

    @pytest.fixture
    def unfit_config(self) -> Config:
        return {**CONFIG, "gpu_memory_utilization": 0.1}


def test_without_noise_it_is_the_simulated_engine() -> None:
    loads = [Load(workload=w) for w in (BUSY, BUSY.at_rate(math.inf), BUSY.at_concurrency(4))]
    for mine, theirs in zip(
        measured(noisy(QUIET), *loads), measured(SimulatedRunner(DEPLOYMENT), *loads), strict=True
    ):
        assert [r.ttft_ms for r in mine.results] == [r.ttft_ms for r in theirs.results]
        assert [r.e2el_ms for r in mine.results] == [r.e2el_ms for r in theirs.results]
        assert mine.duration_s == pytest.approx(theirs.duration_s, rel=1e-12)


class TwiceAsSlow(SimulatedRunner):
    """Every step takes twice its time, which is exact in binary."""

    def _steps(self, deployment: Deployment, size: int, kv: str) -> Tabled:
        steps = super()._steps(deployment, size, kv).steps
        doubled = {k: 2 * v for k, v in steps._asdict().items() if k.endswith("_ms")}
        return Tabled(steps._replace(**doubled), source="a test", uncertainty="exact")


@pytest.mark.parametrize("wait_ms", [0, 50])
@pytest.mark.parametrize(
    "load",
    [
        Load(workload=BUSY),
        Load(workload=BUSY, patience_s=0.5),
        Load(workload=BUSY.at_rate(math.inf)),
        Load(workload=BUSY.at_concurrency(4)),
    ],
    ids=["timed", "cut off", "at once", "closed loop"],
)
def test_an_engine_twice_as_slow_is_the_noiseless_one_on_a_clock_twice_as_slow(
    load: Load, wait_ms: int
) -> None:
    config = {**CONFIG, "batch_wait_timeout_ms": wait_ms}
    (mine,) = measured(noisy(Slower()), load, config=config)
    (slow,) = measured(TwiceAsSlow(DEPLOYMENT), load, config=config)
    assert [r.completed for r in mine.results] == [r.completed for r in slow.results]
    for name in ("arrival_s", "ttft_ms", "e2el_ms"):
        values = [getattr(r, name) for r in mine.results if r.completed]
        assert values == pytest.approx(
            [getattr(r, name) for r in slow.results if r.completed], rel=1e-9
        )
    if load.patience_s == math.inf:
        assert mine.duration_s == pytest.approx(slow.duration_s, rel=1e-9)


@dataclass(slots=True)
class Third:
    """Lets a run end at the third request that finishes."""

    seen: list[tuple[float, float]] = field(default_factory=list)

    def over(self, result: RequestResult, now_s: float) -> bool:
        assert result.e2el_ms is not None
        self.seen.append((result.e2el_ms, now_s))
        return len(self.seen) == 3


RESULTS = [
    RequestResult(1.0, 9, 2, ttft_ms=100.0, e2el_ms=4000.0),
    RequestResult(2.0, 9, 2, ttft_ms=100.0, e2el_ms=1000.0),
    RequestResult(3.0, 9, 2, ttft_ms=100.0, e2el_ms=500.0),
    RequestResult(4.0, 9, 2, ttft_ms=100.0, e2el_ms=2000.0),
]


def test_a_watch_sees_requests_as_they_finish_and_what_is_later_has_not() -> None:
    watch = Third()
    load = Load(workload=BUSY, watch=lambda: watch)
    found = until_over(load, RESULTS)
    assert watch.seen == [(1000.0, 3.0), (500.0, 3.5), (4000.0, 5.0)]
    last = RequestResult(4.0, 9, 2)
    assert found == Measurement(results=(*RESULTS[:3], last), duration_s=4.0, gpus=1)


def test_patience_ends_a_run_before_its_watch_sees_more() -> None:
    watch = Third()
    found = until_over(Load(workload=BUSY, patience_s=0.5, watch=lambda: watch), RESULTS)
    assert watch.seen == [(1000.0, 3.0), (500.0, 3.5)]
    assert [r.completed for r in found.results] == [False, True, True, False]
    assert found.duration_s == 3.5


def test_a_run_that_ends_early_costs_no_more_than_until_then() -> None:
    whole, early = (
        measured(noisy(Noise(), seed=3), Load(workload=BUSY, watch=watch))[0]
        for watch in (None, Third)
    )
    assert early.duration_s < whole.duration_s
    assert len(early.completed) == 3
    assert early.completed == tuple(r for r in whole.results if r in early.completed)


@pytest.mark.parametrize("rate", [3.7, math.inf])
def test_runs_are_at_powers_of_a_64th_and_spread_as_told(rate: float) -> None:
    rng = random.Random(1)
    noise = Noise(of_run=0.06)
    factors = [noise.run_factor(rng, rate) for _ in range(2000)]
    steps = [64 * math.log2(f * (rate if math.isfinite(rate) else 1)) for f in factors]
    assert all(step == pytest.approx(round(step), abs=1e-9) for step in steps)
    assert stdev(map(math.log, factors)) == pytest.approx(0.06, rel=0.05)


def test_neighbours_are_slow_together() -> None:
    logs = [math.log(x) for x in Noise().request_factors(random.Random(1), 20_000)]
    assert stdev(logs) == pytest.approx(0.03, rel=0.1)
    assert correlation(logs[1:], logs[:-1]) == pytest.approx(0.9, abs=0.02)


def test_a_seed_gives_the_same_runs_and_another_seed_others() -> None:
    load = Load(workload=BUSY)
    once, again, other = (measured(noisy(Noise(), seed=s), load, load) for s in (1, 1, 2))
    assert once == again
    assert once != other
    assert once[0] != once[1]


def test_a_run_is_simulated_once_and_then_read_from_the_file(tmp_path: Path) -> None:
    first, second = (
        KnownRuns(SimulatedRunner(DEPLOYMENT), tmp_path / "runs.db") for _ in range(2)
    )
    known = first.run(CONFIG, BUSY, faster=1.5)
    assert first.run(CONFIG, BUSY.at_rate(1.5 * BUSY.request_rate)) is known
    read = second.run(CONFIG, BUSY, faster=1.5)
    assert (first.simulated, second.simulated) == (1, 0)
    assert read.engine == known.engine
    for name in ("arrival_s", "ttft_ms", "e2el_ms"):
        assert getattr(read, name).tolist() == getattr(known, name).tolist()


def test_what_differs_is_another_run() -> None:
    runs = KnownRuns(SimulatedRunner(DEPLOYMENT))
    longer = replace(BUSY, requests=(*BUSY.requests[:-1], Request(1.18, 500, 20)))
    for workload in (BUSY, longer, BUSY.at_rate(3.0), BUSY.at_rate(math.inf)):
        runs.run(CONFIG, workload)
    for streams in (2, 4):
        runs.run(CONFIG, BUSY.at_concurrency(streams))
    runs.run({**CONFIG, "max_num_seqs": 4}, BUSY)
    assert runs.simulated == 7
