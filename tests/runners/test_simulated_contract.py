import math
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from objectives import Load, Measurement, Request, Workload
from runners import Engine, Runner
from runners.simulated import SimulatedRunner
from runners.simulated.catalogue import gpu, model
from runners.testing import RunnerContract
from search_spaces import Config, Deployment
from search_spaces.vllm import default_config, vllm_space

DEPLOYMENT = Deployment(
    model=model("meta-llama/Llama-3.2-1B-Instruct"), gpu=gpu("l4"), gpus=2, max_model_len=1024
)


class TestSimulatedRunner(RunnerContract):
    @pytest.fixture
    def runner(self) -> Runner:
        return SimulatedRunner(DEPLOYMENT)

    @pytest.fixture(params=["continuous", "prefill_first", "decode_first", "static"])
    def config(self, request: pytest.FixtureRequest) -> Config:
        ours = {"batch_policy": request.param, "batch_wait_timeout_ms": 50}
        return {**default_config(vllm_space(DEPLOYMENT)), **ours}

    @pytest.fixture
    def unfit_config(self) -> Config:
        return {**default_config(vllm_space(DEPLOYMENT)), "gpu_memory_utilization": 0.1}

    @pytest.fixture
    def leftovers(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], object]:
        monkeypatch.chdir(tmp_path)
        return lambda: (threading.enumerate(), list(tmp_path.iterdir()))


@dataclass
class Faulty:
    """The simulated runner with a fault in what it measures."""

    fault: Callable[[Measurement], Measurement]
    description = SimulatedRunner(DEPLOYMENT).description

    @contextmanager
    def launch(self, config: Config) -> Iterator[Engine]:
        with SimulatedRunner(DEPLOYMENT).launch(config) as engine:
            yield FaultyEngine(engine, self.fault)


@dataclass
class FaultyEngine:
    engine: Engine
    fault: Callable[[Measurement], Measurement]
    age_s: float = 0.0
    fresh: bool = True

    def measure(self, load: Load) -> Measurement:
        return self.fault(self.engine.measure(load))


def change_one(measurement: Measurement, **values: Any) -> Measurement:
    first, *rest = measurement.results
    return replace(measurement, results=(replace(first, **values), *rest))


@pytest.mark.parametrize(
    "fault",
    [
        lambda m: replace(m, results=m.results[1:]),
        lambda m: replace(m, results=m.results[::-1]),
        lambda m: replace(m, duration_s=m.duration_s / 1000),
        lambda m: replace(m, engine={"mean_running": math.nan}),
        lambda m: change_one(m, ttft_ms=None, e2el_ms=None),
        lambda m: change_one(m, ttft_ms=0.0),
        lambda m: change_one(m, e2el_ms=m.results[0].ttft_ms / 2),
        lambda m: change_one(m, arrival_s=0.01),
    ],
    ids=["lost", "unordered", "short", "nan", "unanswered", "at once", "early", "late"],
)
def test_the_contract_catches_a_faulty_measurement(
    fault: Callable[[Measurement], Measurement],
) -> None:
    requests = Request(0, 16, 4), Request(0.1, 16, 4)
    light = Load(workload=Workload(name="light", requests=requests))
    config = default_config(vllm_space(DEPLOYMENT))
    RunnerContract().test_every_request_of_a_light_load_is_answered(
        Faulty(lambda m: m), config, light
    )
    with pytest.raises(AssertionError):
        RunnerContract().test_every_request_of_a_light_load_is_answered(
            Faulty(fault), config, light
        )


def test_the_contract_catches_an_age_that_stands_still() -> None:
    load = Load(workload=Workload(name="light", requests=(Request(0, 16, 4),)))
    config = default_config(vllm_space(DEPLOYMENT))
    with pytest.raises(AssertionError):
        RunnerContract().test_the_age_of_an_engine_counts_its_launch_and_its_runs(
            Faulty(lambda m: m), config, load
        )


def test_a_contract_without_a_runner_says_what_it_lacks(tmp_path: Path) -> None:
    lacking = "from runners.testing import RunnerContract\nclass TestMine(RunnerContract): pass\n"
    (tmp_path / "test_mine.py").write_text(lacking, encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        check=False,
        text=True,
    )
    assert "A RunnerContract needs the fixture `runner`; define it." in ran.stdout


@pytest.mark.parametrize("package", ["runners", "runners.simulated"])
def test_a_runner_needs_no_pytest(package: str) -> None:
    program = f"import {package}, sys; sys.exit('pytest' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
