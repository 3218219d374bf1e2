"""Trials of a study against the best configs so far, on engines whose figures are known."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from objectives import Load, Measurement
from results.quadrants import winner
from results.record import TrialRecord
from results.summary import summarise
from runners.replay import ReplayRunner
from search_spaces import Config
from tests.tuner.conftest import MakeLoop
from tests.tuner.engines import in_line, run
from tests.tuner.test_resume import reloaded, survives_a_kill
from tuner import answer
from tuner.options import Options
from tuner.spec import resolve
from tuner.study import Loop
from tuner.tell import told

Figures = Callable[[Config], tuple[float, float]]
"""(requests per second at most, TTFT in ms of whoever does not wait) of a config."""
DEFAULTS = (40.0, 100.0)
ONE_KNOB: dict[str, Any] = {
    "set": [
        *("max_num_batched_tokens=8192", "batch_wait_timeout_ms=0", "tensor_parallel_size=1"),
        *("long_prefill_token_threshold=0", "gpu_memory_utilization=0.9"),
    ],
    "trials": 6,
}


@dataclass(slots=True)
class Known:
    """An engine that serves in line, and what was asked of it at each launch."""

    figures: Figures
    default: Config = field(default_factory=dict)
    asked: list[list[Load]] = field(default_factory=list)

    @property
    def runner(self) -> ReplayRunner:
        runner = ReplayRunner(measurements=lambda c, load: self._served(runner, c, load))
        return runner

    def _served(self, runner: ReplayRunner, config: Config, load: Load) -> Measurement:
        self.asked += [[] for _ in range(len(runner.launched) - len(self.asked))]
        self.asked[-1].append(load)
        most, first_ms = DEFAULTS if config == self.default else self.figures(config)
        return run(load, in_line(load.workload, most, first_ms), gpus=4)

    @property
    def runs(self) -> list[int]:
        return [len(loads) for loads in self.asked]


def others(most: float, first_ms: float) -> Figures:
    """All but the default, which carries 40 requests a second and answers after 100 ms."""
    return lambda config: (most, first_ms)


def raced(make_loop: MakeLoop, figures: Figures, **options: Any) -> tuple[Loop, Known]:
    known = Known(figures)
    loop = make_loop(known.runner, **{**ONE_KNOB, **options})
    known.default = loop.problem.space.default()
    loop.run()
    return loop, known


def of_sampler(loop: Loop) -> list[TrialRecord]:
    found = [r for r in loop.records if r.origin == "sampler"]
    assert found
    return found


def test_a_trial_that_breaks_every_promise_costs_one_run_and_not_all_of_it(
    make_loop: MakeLoop,
) -> None:
    loop, known = raced(make_loop, others(0.5, 6000.0))
    for record in of_sampler(loop):
        assert known.runs[record.launch_id or 0] == 1
        assert (record.stopped_early, record.why_stopped) == (True, "breaks the SLA")
        assert 4 <= record.loads["offered"]["completed"] <= 8
        assert record.measured_s < 20.0
        assert [*record.loads] == ["offered"]


def test_a_trial_that_is_worse_at_everything_costs_three_runs(make_loop: MakeLoop) -> None:
    loop, known = raced(make_loop, others(20.0, 200.0))
    best = loop.records[0].loads["capacity"]
    for record in of_sampler(loop):
        assert known.runs[record.launch_id or 0] == 3
        assert record.why_stopped == "later first tokens, less capacity, less throughput"
        (probe,) = record.loads["capacity"]["probes"]
        # A tie of one per cent below the best.
        assert probe["level"] == pytest.approx(0.99 * best["capacity"])
        assert "capacity" not in record.loads["capacity"]
        offered, at_level, at_once = known.asked[record.launch_id or 0]
        assert len(offered.workload.requests) == 60
        assert at_level.workload.request_rate == pytest.approx(probe["level"], rel=0.05)
        assert at_once.workload.request_rate == float("inf")


@pytest.mark.parametrize("figures", [(40.0, 100.0), (41.0, 100.0), (20.0, 50.0), (80.0, 300.0)])
def test_a_trial_that_is_tied_or_better_at_anything_is_measured_whole(
    make_loop: MakeLoop, figures: tuple[float, float]
) -> None:
    loop, known = raced(make_loop, others(*figures))
    for record in of_sampler(loop):
        assert (record.complete, record.why_stopped) == (True, "")
        assert known.runs[record.launch_id or 0] > 3
        assert record.loads["capacity"]["capacity"] == pytest.approx(figures[0], rel=0.15)


def test_the_default_the_presets_and_the_users_own_config_are_never_stopped(
    make_loop: MakeLoop, tmp_path: Path
) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("max-num-seqs: 77\n")
    loop, _ = raced(make_loop, others(0.5, 6000.0), start_from=own, set=[], trials=8)
    assert {r.origin: r.stopped_early for r in loop.records} == {
        "default": False,
        "transfer": False,
        "preset": False,
        "sampler": True,
    }
    assert loop.records[1].config["max_num_seqs"] == 77


def test_where_even_the_default_breaks_every_promise_what_does_so_is_stopped(
    make_loop: MakeLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.tuner.test_racing.DEFAULTS", (0.5, 6000.0))
    loop, known = raced(make_loop, others(0.5, 6000.0))
    assert [r.stopped_early for r in loop.records] == [r.origin == "sampler" for r in loop.records]
    assert {known.runs[r.launch_id or 0] for r in of_sampler(loop)} == {1}


def test_with_the_offered_load_alone_only_promises_close_what_capacity_decides(
    make_loop: MakeLoop,
) -> None:
    hopeless, _ = raced(make_loop, others(0.5, 6000.0), load="offered")
    assert {r.stopped_early for r in of_sampler(hopeless)} == {True}
    worse, _ = raced(make_loop, others(20.0, 200.0), load="offered")
    assert {r.stopped_early for r in of_sampler(worse)} == {False}


def test_in_all_each_kind_of_traffic_has_a_race_of_its_own(make_loop: MakeLoop) -> None:
    loop, _ = raced(make_loop, others(20.0, 1200.0), objective="all")
    why = {r.objective: r.why_stopped for r in of_sampler(loop)}
    assert why == {
        "rag": "breaks the SLA",
        "chat": "breaks the SLA",
        "reasoning": "less capacity",
        "summarize": "less throughput",
    }


def test_a_stopped_trial_wins_nothing_and_is_told_no_better_than_the_best(
    make_loop: MakeLoop,
) -> None:
    loop, _ = raced(make_loop, others(20.0, 200.0))
    stopped = {r.number for r in loop.records if r.stopped_early}
    spec, _ = resolve(Options(objective="chat", input_tokens=64, output_tokens=8))
    about = answer.facts("study", spec, loop.problem, loop.runner.description)
    found = summarise(about, loop.records, loop.selection, wall_s=0.0)
    shown = {best["trial"] for best in found["best"].values()}
    assert not stopped & (shown | {point["trial"] for point in found["front"]})
    assert found["trials"]["stopped_early"] == len(stopped)
    best = loop.records[0]
    for number in stopped:
        capacity, first_ms = loop.studies[0].trials[number].values
        assert capacity <= best.loads["capacity"]["capacity_per_gpu"]
        assert first_ms >= best.loads["offered"]["p95_ttft_ms"]


def test_the_best_so_far_is_what_a_trial_runs_against(make_loop: MakeLoop) -> None:
    def better_with_fewer(config: Config) -> tuple[float, float]:
        share = int(config["max_num_seqs"]) / 1024
        return 40.0 * (2 - share), 100.0 * (1 + share)

    loop, _ = raced(make_loop, better_with_fewer, trials=12)
    fewest = 1024
    for record in loop.records[1:]:
        tried = int(record.config["max_num_seqs"])
        clearly_worse = tried > fewest + 100
        if clearly_worse or tried < fewest:
            assert record.stopped_early is clearly_worse
        fewest = min(fewest, tried)
    for quadrant, best in loop.best().items():
        assert best is not None
        assert best is winner(loop.records, quadrant, loop.selection)
        assert not best.stopped_early


def test_what_a_trial_runs_against_is_the_best_by_its_figures_not_the_plainest_that_ties(
    make_loop: MakeLoop,
) -> None:
    loop, _ = raced(make_loop, others(42.0, 95.0), trials=4)
    loop.problem = replace(loop.problem, noiseless=False)
    loop.selection = answer.selection(loop.problem)
    (case,) = loop.problem.cases
    against = loop._race(case).best
    assert {best and best.origin for best in loop.best().values()} == {"default"}
    assert {best and best.origin for best in against.values()} == {"sampler"}


def test_taken_up_again_a_study_tells_the_same_of_what_was_stopped(make_loop: MakeLoop) -> None:
    loop, known = raced(make_loop, others(20.0, 200.0))
    again = make_loop(known.runner, studies=reloaded(loop.studies), **ONE_KNOB)
    again.run()
    assert again.records == loop.records
    for number, trial in enumerate(again.studies[0].trials):
        values, constraints = told(
            again.problem, again.problem.cases[0], again.records[number], again.records[:number]
        )
        assert (trial.values, dict(trial.constraints)) == (values, constraints)


def test_killed_while_it_races_a_study_goes_on_as_if_it_had_not_been(
    make_loop: MakeLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    default = make_loop(**ONE_KNOB).problem.space.default()

    def racing() -> ReplayRunner:
        return Known(others(20.0, 200.0), default).runner

    kills = survives_a_kill(make_loop, monkeypatch, racing, range(24, 48, 3), **ONE_KNOB)
    assert kills == 8
