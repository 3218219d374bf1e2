"""Real vLLM keeps every promise of a runner, and turns live knobs without a launch."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from objectives import Load, Request, Workload
from runners import EngineError, FailureKind
from runners.testing import RunnerContract
from runners.vllm import Launch, VllmRunner
from search_spaces import Config

from .conftest import Forked, left_over


class TestVllm(RunnerContract):
    @pytest.fixture
    def runner(self, forked: Forked) -> VllmRunner:
        return forked.runner()

    @pytest.fixture
    def config(self, forked: Forked) -> Config:
        return forked.config

    @pytest.fixture
    def unfit_config(self, forked: Forked) -> Config:
        return {**forked.config, "kv_cache_memory_bytes": 1_000_000}

    @pytest.fixture
    def leftovers(self, forked: Forked) -> Callable[[], object]:
        return left_over


def test_a_config_that_differs_in_live_knobs_is_served_by_the_running_engine(
    forked: Forked, load: Load
) -> None:
    with forked.runner() as runner:
        with runner.launch(forked.config) as engine:
            assert engine.fresh
            engine.measure(load)
        with runner.launch({**forked.config, "max_num_seqs": 2}) as engine:
            assert not engine.fresh
            measurement = engine.measure(load)
    assert len(measurement.completed) == len(load.workload.requests)
    assert left_over() == []


@pytest.fixture
def load() -> Load:
    requests = tuple(Request(0.0, 32 + i, 8) for i in range(6))
    return Load(workload=Workload(name="burst", requests=requests))


def test_a_config_with_another_launch_knob_gets_an_engine_of_its_own(forked: Forked) -> None:
    with forked.runner() as runner:
        with runner.launch(forked.config):
            pass
        with runner.launch({**forked.config, "enable_prefix_caching": False}) as engine:
            assert engine.fresh


def test_fewer_sequences_at_once_make_a_burst_wait(forked: Forked, load: Load) -> None:
    waited = {}
    with forked.runner() as runner:
        for seqs in (6, 1):
            with runner.launch({**forked.config, "max_num_seqs": seqs}) as engine:
                measured = engine.measure(load)
            waited[seqs] = measured.engine["mean_queue_s"]
    assert waited[1] > 10 * waited[6]


def test_a_batch_wait_holds_a_lone_request_for_its_timeout(forked: Forked) -> None:
    alone = Load(workload=Workload(name="alone", requests=(Request(0.0, 32, 4),)))
    waiting = {**forked.config, "batch_wait_timeout_ms": 1000}
    with forked.runner() as runner, runner.launch(waiting) as engine:
        held = engine.measure(alone)
    ttft_ms = held.results[0].ttft_ms
    assert ttft_ms is not None
    assert ttft_ms >= 1000


def test_prompts_never_repeat_from_one_run_to_the_next(forked: Forked, load: Load) -> None:
    long = replace(load.workload, requests=tuple(Request(0.0, 300, 2) for _ in range(6)))
    with forked.runner() as runner, runner.launch(forked.config) as engine:
        hits = [engine.measure(Load(workload=long)).engine for _ in range(2)]
    assert [told["prefix_cached_tokens"] for told in hits] == [0, 0]


def test_shared_prefixes_are_shared_on_the_engine_too(forked: Forked) -> None:
    requests = tuple(Request(0.5 * i, 300, 2, blocks=(1, 2)) for i in range(3))
    shared = Workload(name="shared", requests=requests, block_tokens=128)
    with forked.runner() as runner, runner.launch(forked.config) as engine:
        told = engine.measure(Load(workload=shared)).engine
    assert told["prefix_cached_tokens"] == told["implied_prefix_tokens"] == 2 * 256


def test_the_step_log_and_the_engine_log_are_kept_and_told_of(forked: Forked, load: Load) -> None:
    with forked.runner() as runner, runner.launch(forked.config) as engine:
        told = engine.measure(load).engine
    assert told["step_log"] == 0
    steps = (forked.logs / "steps-0.csv").read_text("utf-8").splitlines()
    assert len(steps) > 8
    assert "Application startup complete" in (forked.logs / "engine-0.log").read_text("utf-8")


def test_a_launch_never_writes_over_the_logs_of_an_earlier_one(forked: Forked, load: Load) -> None:
    forked.logs.mkdir()
    (forked.logs / "engine-3.log").write_text("of a study that was cut off")
    with forked.runner() as runner, runner.launch(forked.config) as engine:
        assert engine.measure(load).engine["step_log"] == 4
    assert {path.name for path in forked.logs.iterdir()} == {
        *("engine-3.log", "engine-4.log", "steps-4.csv"),
    }


def test_an_exported_file_starts_the_stock_engine(
    forked: Forked, load: Load, tmp_path: Path
) -> None:
    file = tmp_path / "best.yaml"
    file.write_text(
        f"model: {forked.launch.model}\nmax-model-len: 2048\nload-format: dummy\n"
        "enforce-eager: true\ngpu-memory-utilization: 0.1\nno-enable-prefix-caching: true\n"
    )
    with forked.runner() as runner, runner.launch_file(file) as engine:
        measured = engine.measure(load)
    assert len(measured.completed) == len(load.workload.requests)
    assert "step_log" not in measured.engine
    assert "scheduler_cls" not in (forked.logs / "engine-0.log").read_text("utf-8")


def test_n_gram_speculation_says_how_much_of_it_was_accepted(forked: Forked, load: Load) -> None:
    config = {**forked.config, "speculative_config": "ngram"}
    with forked.runner() as runner, runner.launch(config) as engine:
        told = engine.measure(load).engine
    assert told.get("draft_tokens", 0) >= told.get("accepted_draft_tokens", 0) >= 0
    assert "draft_tokens" in told


def test_a_draft_model_says_how_much_of_it_was_accepted(forked: Forked, load: Load) -> None:
    config = {**forked.config, "speculative_config": f"draft:{forked.launch.model}"}
    with forked.runner() as runner, runner.launch(config) as engine:
        told = engine.measure(load).engine
    assert told["draft_tokens"] > 0
    assert 0 <= told["acceptance_rate"] <= 1


def test_a_flag_that_vllm_refuses_is_answered_in_its_own_words(forked: Forked) -> None:
    runner = forked.runner()
    with pytest.raises(EngineError) as caught, runner.launch({**forked.config, "dtype": "int4"}):
        pass
    assert caught.value.failure.kind is FailureKind.REFUSED
    assert "dtype" in caught.value.failure.detail
    assert caught.value.engine_s > 0
    assert left_over() == []


def test_a_model_folder_without_a_config_is_refused(forked: Forked, tmp_path: Path) -> None:
    launch: Launch = replace(forked.launch, model=str(tmp_path))
    with pytest.raises(EngineError) as caught, forked.runner(launch).launch(forked.config):
        pass
    assert caught.value.failure.kind is FailureKind.REFUSED
    assert left_over() == []
