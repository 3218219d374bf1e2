from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev

import pytest

from benchmarks.recording import Due, Header, Launched, LoadName, Recording, Run, Setting
from benchmarks.search_efficiency import recorded, twins
from benchmarks.search_efficiency.cells import Unit, work_out
from benchmarks.search_efficiency.published import SOURCES, promise, published
from benchmarks.search_efficiency.surface import Surface, Truth
from benchmarks.search_efficiency.surfaces import NAMES, Place, surface_named
from objectives import Load, Measurement, Request, RequestResult, Workload
from runners import EngineError
from search_spaces import Config

from . import cases


def test_there_are_surfaces_of_three_kinds() -> None:
    assert {*NAMES, recorded.NAME} == {*SOURCES, *twins.TWINS, recorded.NAME}
    assert (len(SOURCES), len(twins.TWINS)) == (6, 4)


@pytest.mark.parametrize("name", SOURCES)
def test_a_published_surface_is_cut_in_half_by_its_promise(name: str, tmp_path: Path) -> None:
    surface = surface_named(name, Place(cache=tmp_path))
    feasible = [truth.feasible for truth in surface.truths.values()]
    assert len(feasible) == len(surface.configs) >= 12
    assert 0.5 <= mean(feasible) <= 0.6
    assert {bound.metric for bound in surface.problem.cases[0].profile.sla} == {
        "mean_ttft_ms",
        "mean_tpot_ms",
    }


def test_the_excerpt_is_the_collections_own_rows(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must be a folder with"):
        published("llama-70b-h100", tmp_path)


def test_limits_are_halfway_to_the_next_point() -> None:
    rows = [cases.row(point, *ms) for point, ms in cases.POINTS.items()]
    limits = {bound.metric: bound.limit for bound in promise(rows)}
    # TTFT 30 40 50 60 70 ..., TPOT 7 8 10 12 13 ...: the fourth of each keeps four of eight.
    assert limits == {"mean_ttft_ms": 64.81, "mean_tpot_ms": 12.49}


def served(surface: Surface, config: Config, seed: int = 0) -> tuple[Measurement, float]:
    with surface.runner(seed).launch(config) as engine:
        found = engine.measure(Load(workload=surface.problem.cases[0].workload))
        return found, engine.age_s


@pytest.mark.parametrize(("size", "seqs"), [(1, 4), (1, 32), (2, 8)])
def test_a_published_point_is_served_as_it_was_published(
    tiny: Surface, size: int, seqs: int
) -> None:
    config = {"tensor_parallel_size": size, "max_num_seqs": seqs}
    found, age_s = served(tiny, config)
    truth = tiny.truth(config)
    assert truth is not None
    assert found.metrics["output_throughput_per_gpu"] == pytest.approx(truth.throughput, rel=0.02)
    assert found.metrics["mean_ttft_ms"] == pytest.approx(truth.latency_ms, rel=0.07)
    assert age_s == pytest.approx(10 * (found.metrics["mean_e2el_ms"] or 0) / 1000)


def test_published_points_repeat_as_far_as_published_runs_do(tiny: Surface) -> None:
    with tiny.runner(1).launch(tiny.default) as engine:
        load = Load(workload=tiny.problem.cases[0].workload)
        runs = [engine.measure(load).metrics for _ in range(400)]
    for metric, spread in (("mean_ttft_ms", 0.017), ("mean_tpot_ms", 0.003)):
        values = [float(run[metric] or 0) for run in runs]
        assert stdev(values) / mean(values) == pytest.approx(spread, rel=0.15)


def test_a_twins_truth_is_worked_out_once(twin: Surface, tmp_path: Path) -> None:
    asked: list[Config] = []

    def counted(work, configs):  # type: ignore[no-untyped-def]
        asked.extend(configs)
        return map(work, configs)

    first = twins.surface("again", cases.TWIN, tmp_path, counted)
    second = twins.surface("again", cases.TWIN, tmp_path, counted)
    assert len(asked) == len(twin.configs) == 10
    assert first.truths == second.truths == twin.truths
    assert first.measured_s == twin.measured_s > 0


def test_a_twin_refuses_what_breaks_a_rule(twin: Surface) -> None:
    refused = next(c for c in twin.grid if twin.problem.space.broken_rules(c))
    assert twin.truth(refused) is None
    with pytest.raises(EngineError), twin.runner(0).launch(refused):
        pass


def test_a_twin_is_noisy_and_its_truth_is_not(twin: Surface) -> None:
    first, second = (served(twin, twin.nearest(twin.default), seed)[0] for seed in (0, 1))
    truth = twin.truth(twin.default)
    assert truth is not None
    latencies = [run.metrics["p95_ttft_ms"] for run in (first, second)]
    assert latencies[0] != latencies[1]
    assert latencies == pytest.approx([truth.latency_ms] * 2, rel=0.25)


def test_a_peers_load_is_the_surfaces_requests_as_many_as_it_sends(twin: Surface) -> None:
    own = twin.problem.cases[0].workload
    assert twin.traffic(10).requests == own.requests[:10]
    longer = twin.traffic(60)
    assert len(longer.requests) == 60
    assert longer.request_rate == pytest.approx(own.request_rate, rel=0.05)


def test_settings_between_those_of_the_grid_have_the_truth_of_the_nearest(tiny: Surface) -> None:
    def config(seqs: int) -> Config:
        return {"tensor_parallel_size": 1, "max_num_seqs": seqs}

    assert tiny.nearest(config(11)) == config(8)
    assert tiny.nearest(config(12)) == config(16)
    assert tiny.truth(config(12)) == tiny.truth(config(16))


SERVED = {
    Setting(2, 32): 100.0,
    Setting(2, 2048): 110.0,
    Setting(64, 2048): 399.0,
    Setting(128, 2048): 400.0,
}
SETTINGS = tuple(SERVED)
WORKLOAD = Workload(name="few", requests=(Request(0.0, 9, 11), Request(1.0, 9, 11)))


def run(setting: Setting, load: LoadName, repeat: int) -> Run:
    """Twenty-two tokens at so many a second, some more in each further repeat."""
    duration_s = 22 / (SERVED[setting] + repeat)
    results = tuple(
        RequestResult(r.arrival_s, 9, 11, ttft_ms=20.0, e2el_ms=1000 * duration_s + repeat)
        for r in WORKLOAD.requests
    )
    measured = Measurement(results=results, duration_s=duration_s, gpus=1)
    return Run(
        due=Due(repeat, setting, load),
        launch=0,
        turn_s=0.5,
        others_cpu_share=0.0,
        measurement=measured,
    )


@pytest.fixture
def recording() -> Recording:
    header = Header(
        date="2026-01-01",
        engine="vLLM",
        model="tiny",
        machine={},
        niceness=0,
        cpu_pressure_avg10_percent=None,
        config={"max_num_seqs": 128, "max_num_batched_tokens": 2048},
        settings=SETTINGS,
        repeats=3,
        seed=0,
        saturated_request_throughput=2.0,
        workload=WORKLOAD,
    )
    launched = Launched(launch=0, ready_s=15.0, warm_s=20.0, cpu_pressure_avg10_percent=None)
    loads: tuple[LoadName, ...] = ("offered", "saturated")
    runs = tuple(run(s, load, n) for s in SETTINGS for load in loads for n in range(3))
    return Recording(header=header, launches=(launched,), runs=runs)


def test_what_was_recorded_is_the_truth_and_ties_are_told(recording: Recording) -> None:
    surface = recorded.surface(recording)
    assert surface.truths[2, 32].throughput == pytest.approx(101.0)
    told = [truth.as_good for truth in surface.truths.values()]
    assert told == [False, False, True, True]
    assert all(isinstance(truth, Truth) and truth.feasible for truth in surface.truths.values())
    assert surface.launch_s(surface.default) == 20.0


def test_what_keeps_the_rules_is_served_as_something_that_does(recording: Recording) -> None:
    surface = recorded.surface(recording)
    assert surface.nearest({"max_num_seqs": 60, "max_num_batched_tokens": 64}) == {
        "max_num_seqs": 64,
        "max_num_batched_tokens": 2048,
    }


def test_a_recording_with_a_gap_is_no_surface(recording: Recording) -> None:
    header = replace(recording.header, settings=(Setting(2, 2048), Setting(4, 32)))
    with pytest.raises(ValueError, match="every pair of its settings"):
        recorded.surface(replace(recording, header=header))


def test_a_trial_on_the_recording_draws_repeats_and_pays_for_turning(
    recording: Recording,
) -> None:
    surface = recorded.surface(recording)
    with surface.runner(0).launch(surface.default) as engine:
        load = Load(workload=WORKLOAD)
        runs = [engine.measure(replace(load, workload=w)) for w in (WORKLOAD,) * 20]
        spent_s = engine.age_s
    assert {run.duration_s for run in runs} == {22 / 400, 22 / 401, 22 / 402}
    assert spent_s == pytest.approx(sum(run.duration_s for run in runs) + 20 * 0.5)


def test_studies_and_searches_run_on_the_recording(recording: Recording) -> None:
    surface = replace(recorded.surface(recording), measured_s=60.0)
    for policy in ("paretune", "random", "vllm-bench-sweep"):
        filled = work_out(surface, Unit("vllm-cpu", policy, 0), 4)
        assert all(figures["regret"] for _, figures in filled)
