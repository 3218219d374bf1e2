"""The tests every runner must pass: subclass ``RunnerContract`` in a pytest file of your own.

Give it the fixtures ``runner``, ``config`` and ``unfit_config``; the other fixtures have defaults
that suit an engine which answers a short request in seconds and leaves nothing to look for.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import NoReturn

import pytest

from objectives import Load, Measurement, Request, Workload
from runners.base import EngineError, FailureKind, Runner
from search_spaces import Config

SPACING_S = 0.05


class RunnerContract:
    """What ``runners.base`` promises of every runner, as tests."""

    @pytest.fixture
    def runner(self) -> Runner:
        """A runner, ready to launch."""
        return _missing("runner")

    @pytest.fixture
    def config(self) -> Config:
        """A config that the runner can launch."""
        return _missing("config")

    @pytest.fixture
    def unfit_config(self) -> Config:
        """One that it cannot, such as one whose KV cache is too small for the longest request."""
        return _missing("unfit_config")

    @pytest.fixture
    def load(self) -> Load:
        """A few requests that the config serves with ease."""
        requests = (Request(SPACING_S * i, 16 + i, 4 + i) for i in range(6))
        return Load(workload=Workload(name="light", requests=tuple(requests)))

    @pytest.fixture
    def leftovers(self) -> Callable[[], object]:
        """What launches could leave behind: processes, ports, files, GPU memory, as of now."""
        return lambda: None

    def test_it_says_what_it_is(self, runner: Runner) -> None:
        about = runner.description
        assert about.engine
        assert about.version
        assert about.uncertainty

    def test_every_request_of_a_light_load_is_answered(
        self, runner: Runner, config: Config, load: Load
    ) -> None:
        with runner.launch(config) as engine:
            _check_answered(engine.measure(load), load)

    def test_requests_that_arrive_all_at_once_are_answered(
        self, runner: Runner, config: Config, load: Load
    ) -> None:
        at_once = replace(load, workload=load.workload.at_rate(math.inf))
        with runner.launch(config) as engine:
            _check_answered(engine.measure(at_once), at_once)

    def test_a_closed_loop_is_answered_from_its_first_request_on(
        self, runner: Runner, config: Config, load: Load
    ) -> None:
        closed = replace(load, workload=load.workload.at_concurrency(2))
        with runner.launch(config) as engine:
            measurement = engine.measure(closed)
        assert all(result.completed for result in measurement.results)
        arrivals_s = [result.arrival_s for result in measurement.results]
        assert arrivals_s == sorted(arrivals_s)
        assert arrivals_s[:2] == [0.0, 0.0]

    def test_what_is_unanswered_when_patience_ends_has_no_latency(
        self, runner: Runner, config: Config, load: Load
    ) -> None:
        with runner.launch(config) as engine:
            measurement = engine.measure(replace(load, patience_s=1e-9))
        last = measurement.results[-1]
        assert (last.completed, last.ttft_ms, last.e2el_ms) == (False, None, None)
        assert len(measurement.results) == len(load.workload.requests)

    def test_an_engine_is_measured_as_often_as_wanted(
        self, runner: Runner, config: Config, load: Load
    ) -> None:
        with runner.launch(config) as engine:
            for _ in range(3):
                _check_answered(engine.measure(load), load)

    def test_the_same_load_gives_the_same_figures_where_there_is_no_noise(
        self, runner: Runner, config: Config, load: Load
    ) -> None:
        if not runner.description.noiseless:
            pytest.skip("its figures are noisy")
        with runner.launch(config) as engine:
            once = engine.measure(load)
            again = engine.measure(load)
        with runner.launch(config) as engine:
            assert engine.measure(load) == once == again

    def test_the_age_of_an_engine_counts_its_launch_and_its_runs(
        self, runner: Runner, config: Config, load: Load
    ) -> None:
        with runner.launch(config) as engine:
            launched_s = engine.age_s
            first = engine.measure(load)
            measured_s = engine.age_s
            second = engine.measure(load)
            at_last_s = engine.age_s
        assert launched_s >= 0
        assert measured_s >= (launched_s + first.duration_s) * (1 - 1e-9)
        assert at_last_s >= (measured_s + second.duration_s) * (1 - 1e-9)
        assert engine.age_s >= at_last_s

    def test_a_config_that_does_not_fit_is_an_engine_error_with_a_kind(
        self, runner: Runner, unfit_config: Config
    ) -> None:
        with pytest.raises(EngineError) as caught, runner.launch(unfit_config):
            pass
        assert caught.value.failure.kind in (
            FailureKind.DOES_NOT_FIT,
            FailureKind.OUT_OF_MEMORY,
            FailureKind.REFUSED,
        )
        assert caught.value.failure.detail

    def test_nothing_is_left_of_an_engine(
        self, runner: Runner, config: Config, load: Load, leftovers: Callable[[], object]
    ) -> None:
        before = leftovers()
        with runner.launch(config) as engine:
            engine.measure(load)
        assert leftovers() == before

    def test_nothing_is_left_of_an_engine_whose_user_failed(
        self, runner: Runner, config: Config, leftovers: Callable[[], object]
    ) -> None:
        before = leftovers()
        with pytest.raises(_Failed), runner.launch(config):
            raise _Failed
        assert leftovers() == before

    def test_nothing_is_left_of_a_launch_that_failed(
        self, runner: Runner, unfit_config: Config, leftovers: Callable[[], object]
    ) -> None:
        before = leftovers()
        with pytest.raises(EngineError), runner.launch(unfit_config):
            pass
        assert leftovers() == before

    def test_a_failed_launch_does_not_spoil_the_next(
        self, runner: Runner, config: Config, unfit_config: Config, load: Load
    ) -> None:
        with pytest.raises(EngineError), runner.launch(unfit_config):
            pass
        with runner.launch(config) as engine:
            _check_answered(engine.measure(load), load)


class _Failed(Exception):
    """The engine's user, not the engine."""


def _missing(fixture: str) -> NoReturn:
    raise NotImplementedError(f"A RunnerContract needs the fixture `{fixture}`; define it.")


def _check_answered(measurement: Measurement, load: Load) -> None:
    """Every request in full, in order, at its own time, and what the engine says in numbers."""
    asked = [(r.arrival_s, r.input_tokens, r.output_tokens) for r in load.workload.requests]
    results = measurement.results
    assert [(r.arrival_s, r.input_tokens, r.output_tokens) for r in results] == asked
    assert all(0 < (r.ttft_ms or 0) <= (r.e2el_ms or 0) < math.inf for r in results)
    assert measurement.duration_s >= max((r.e2el_ms or 0) / 1000 for r in results) * (1 - 1e-9)
    assert measurement.gpus >= 1
    assert all(math.isfinite(value) and value >= 0 for value in measurement.engine.values())
