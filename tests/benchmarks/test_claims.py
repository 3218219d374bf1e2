import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.claims import coverage, studies, tables
from benchmarks.claims.binomial import Count, verdict
from benchmarks.claims.noise import ORDERS, WITHIN_SD, Machine, ar1, places
from benchmarks.claims.studies import Cell, Found, Setting

ROOT = Path(__file__).parents[2]
STEADY = Setting(about="steady", machine=Machine(run_sd=0.03), pairs=5)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Mapping[str, Any], str]:
    out = tmp_path_factory.mktemp("claims") / "claims.json"
    few = ("--studies", "3", "--pairs", "2", "--output", str(out))
    told = subprocess.run(
        [sys.executable, "-m", "benchmarks.claims", *few],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return json.loads(out.read_text("utf-8")), told


@pytest.mark.parametrize(
    ("hits", "of", "interval"),
    [
        (0, 10, (0.0, 0.3085)),
        (8, 10, (0.4439, 0.9748)),
        (10, 10, (0.6915, 1.0)),
        (20, 400, (0.0308, 0.0762)),
    ],
)
def test_the_interval_of_a_count_is_clopper_and_pearsons(
    hits: int, of: int, interval: tuple[float, float]
) -> None:
    assert Count(hits, of).interval() == pytest.approx(interval, abs=5e-5)


@pytest.mark.parametrize(
    ("hits", "told"), [(20, "kept"), (21, "missed by chance?"), (60, "missed")]
)
def test_a_bound_is_missed_for_sure_only_where_the_whole_interval_is_beyond_it(
    hits: int, told: str
) -> None:
    assert verdict(Count(hits, 400), at_most=0.05) == told
    assert verdict(Count(400 - hits, 400), at_least=0.95) == told


def test_noise_within_a_run_is_stationary_and_as_correlated_as_it_says() -> None:
    found = ar1(np.random.default_rng(0), runs=20_000, coefficient=0.9, requests=40)
    assert found[0].std() == pytest.approx(1, abs=0.02)
    assert found[-1].std() == pytest.approx(1, abs=0.02)
    assert np.corrcoef(found[-2], found[-1])[0, 1] == pytest.approx(0.9, abs=0.01)


def test_truths_are_those_of_very_many_requests() -> None:
    rng = np.random.default_rng(0)
    for traffic in coverage.traffics(rng, runs=4000):
        drawn = traffic.latencies[::60]
        assert np.quantile(drawn, 0.95) == pytest.approx(traffic.p95, rel=0.03)
        assert drawn.mean() == pytest.approx(traffic.mean, rel=0.03)


def test_runs_take_turns_stay_in_order_or_lie_apart() -> None:
    orders = {order: [list(side * 3) for side in places(2, order)] for order in ORDERS}
    assert orders == {
        "taking turns in going first": [[0, 3], [1, 2]],
        "the default always first": [[0, 2], [1, 3]],
        "all of one, then all": [[0, 1], [2, 3]],
    }


def test_a_drift_slows_each_run_by_its_place_in_the_study() -> None:
    machine = Machine(run_sd=0.0, drift=0.2)
    slowness = machine.slowness(np.random.default_rng(0), 1, np.array([0.0, 0.5, 1.0]))
    assert slowness.tolist() == [[0.0, 0.1, 0.2]]


def test_a_setting_is_counted_over_as_many_studies_as_asked_for() -> None:
    found = studies.measure(STEADY, 30, np.random.default_rng(0))
    assert [cell.true_ratio for cell in found.cells] == [1.0, 1.03, 1.1]
    assert {count.of for cell in found.cells for count in (cell.claimed, cell.covered)} == {30}
    assert found.cells[0].claimed.hits < found.cells[2].claimed.hits
    assert 0.03 < found.figure_sd < 0.03 + WITHIN_SD


def test_a_row_tells_claims_by_true_ratio_and_coverage_over_all_of_them() -> None:
    same, small, large = (
        Cell(true_ratio=ratio, claimed=Count(hits, 10), covered=Count(9, 10))
        for ratio, hits in ((1.0, 0), (1.03, 5), (1.1, 10))
    )
    found = Found(setting=STEADY, figure_sd=0.05, cells=(same, small, large))
    assert list(tables.claims([found]))[-1] == (
        "| throughput | steady | 3 % | 5.0 % | 5 | 0.0 % (0.0 to 30.8) | 50.0 % (18.7 to 81.3) "
        "| 100.0 % (69.2 to 100.0) | 90.0 % (73.5 to 97.9) | kept; missed by chance? |"
    )


def test_the_run_tells_every_cell_with_its_verdict(run: tuple[Mapping[str, Any], str]) -> None:
    found, _ = run
    assert [found["studies"], found["seed"], found["requests"]] == [3, 0, 600]
    # Two goals at three amounts of noise, bursts, and a drift in three orders.
    assert [len(one["cells"]) for one in found["settings"]] == [3] * 10
    for cell in (cell for one in found["settings"] for cell in one["cells"]):
        assert cell["claimed"]["share"] == cell["claimed"]["hits"] / cell["claimed"]["of"]
        assert cell["coverage"] in ("kept", "missed", "missed by chance?")
        assert ("false_claims" in cell) == (cell["true_ratio"] == 1)
    assert list(found["families"]) == [
        "2 pairs, each its own",
        "2 pairs, the same runs of the default",
    ]
    assert len(found["within_one_run"]) == 5


def test_the_tables_follow_the_json(run: tuple[Mapping[str, Any], str]) -> None:
    found, told = run
    printed, _, markdown = told.partition("\n\n")
    assert json.loads(printed) == found
    rows = [len(table.splitlines()) - 2 for table in markdown.strip().split("\n\n")]
    assert rows == [10, 2, 5]


def test_the_same_seed_draws_the_same_studies() -> None:
    rngs = [np.random.default_rng(7) for _ in range(2)]
    first, second = (studies.family(2, 20, rng, shared_default=True) for rng in rngs)
    assert first == second
