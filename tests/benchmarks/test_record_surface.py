import argparse
from collections import Counter
from pathlib import Path

import pytest

from benchmarks import record_surface
from benchmarks.record_surface import grid, left, pooled_share, schedule, table, tied_with_best
from benchmarks.recording import (
    LOADS,
    Due,
    Header,
    Launched,
    Recording,
    Run,
    Setting,
    append,
    compress,
    read_recording,
)
from objectives import Measurement, Request, RequestResult, Workload

SMALL, LARGE = Setting(4, 32), Setting(128, 2048)
WORKLOAD = Workload(
    name="chat", source="made up", requests=(Request(0.0, 10, 3), Request(0.5, 20, 5))
)
HEADER = Header(
    date="2026-11-30",
    engine="vllm 0.32.0+cpu",
    model="tiny-llama",
    machine={"cores": 2, "cpu": "a CPU"},
    cpu_pressure_avg10_percent=None,
    niceness=0,
    config={"max_num_seqs": 128, "max_num_batched_tokens": 2048, "enforce_eager": True},
    settings=(SMALL, LARGE),
    repeats=2,
    seed=0,
    saturated_request_throughput=60.0,
    workload=WORKLOAD,
)
LAUNCHED = Launched(launch=0, ready_s=30.0, warm_s=45.0, cpu_pressure_avg10_percent=0.0)


def run(due: Due, *, e2el_ms: float = 40.25, others: float = 0.015) -> Run:
    """Its second request was never answered."""
    first, second = HEADER.traffic(due.load).requests
    return Run(
        due=due,
        launch=0,
        turn_s=0.5,
        others_cpu_share=others,
        measurement=Measurement(
            results=(
                RequestResult(first.arrival_s, 10, 3, ttft_ms=20.11, e2el_ms=e2el_ms),
                RequestResult(second.arrival_s, 20, 5),
            ),
            duration_s=1.25,
            gpus=1,
            engine={"mean_running": 1.5},
        ),
    )


def recorded(file: Path, runs: tuple[Run, ...]) -> Path:
    lines: tuple[Header | Launched | Run, ...] = (HEADER, LAUNCHED, *runs)
    for line in lines:
        append(file, line)
    return file


def test_the_grid_keeps_the_engines_rule_and_holds_its_default() -> None:
    assert len(grid()) == len(set(grid())) == 24
    assert all(setting.max_num_batched_tokens >= setting.max_num_seqs for setting in grid())
    assert LARGE in grid()


def test_each_repeat_is_every_setting_under_every_load_in_an_order_of_its_own() -> None:
    due = schedule(grid(), repeats=3, seed=1)
    rounds = [due[start : start + 48] for start in (0, 48, 96)]
    assert [Counter(one.repeat for one in found) for found in rounds] == [
        {0: 48},
        {1: 48},
        {2: 48},
    ]
    pairs = [[(one.setting, one.load) for one in found] for found in rounds]
    assert {frozenset(found) for found in pairs} == {
        frozenset((setting, load) for setting in grid() for load in LOADS)
    }
    assert len({tuple(found) for found in pairs}) == 3
    assert due == schedule(grid(), repeats=3, seed=1)


def test_a_recording_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    runs = (run(Due(0, SMALL, "offered")), run(Due(0, LARGE, "saturated")))
    file = recorded(tmp_path / "surface.jsonl", runs)
    expected = Recording(header=HEADER, launches=(LAUNCHED,), runs=runs)
    assert read_recording(file) == expected
    compress(file, tmp_path / "surface.jsonl.gz")
    assert read_recording(tmp_path / "surface.jsonl.gz") == expected


def test_saturated_requests_all_arrive_at_once() -> None:
    assert [r.arrival_s for r in HEADER.traffic("offered").requests] == [0.0, 0.5]
    assert [r.arrival_s for r in HEADER.traffic("saturated").requests] == [0.0, 0.0]


def test_what_a_killed_recorder_left_unfinished_is_run_again(tmp_path: Path) -> None:
    whole = schedule(HEADER.settings, repeats=2, seed=0)
    file = recorded(tmp_path / "surface.jsonl", tuple(run(due) for due in whole[:3]))
    with file.open("ab") as torn:
        torn.write(b'{"line":"run","repeat":0,')
    assert left(read_recording(file), others_below=0.1) == whole[3:]
    append(file, run(whole[3]))
    assert left(read_recording(file), others_below=0.1) == whole[4:]


def test_a_run_that_others_disturbed_is_run_again_and_its_last_try_counts(tmp_path: Path) -> None:
    whole = schedule(HEADER.settings, repeats=2, seed=0)
    file = recorded(tmp_path / "surface.jsonl", tuple(run(due) for due in whole[1:]))
    append(file, run(whole[0], others=0.3))
    assert left(read_recording(file), others_below=0.1) == whole[:1]
    append(file, run(whole[0]))
    assert left(read_recording(file), others_below=0.1) == []
    assert read_recording(file).runs[-1] == run(whole[0])


def test_a_finished_recording_is_compressed_without_a_launch(tmp_path: Path) -> None:
    runs = tuple(run(due) for due in schedule(HEADER.settings, repeats=2, seed=0))
    recorded(tmp_path / "surface.jsonl", runs)
    out = tmp_path / "surface.jsonl.gz"
    record_surface.record(argparse.Namespace(out=out, others_below=0.1))
    assert read_recording(out).runs == runs


def test_a_file_without_a_header_is_no_recording(tmp_path: Path) -> None:
    append(tmp_path / "torn.jsonl", LAUNCHED)
    with pytest.raises(ValueError, match="A recording begins with its header"):
        read_recording(tmp_path / "torn.jsonl")


def test_noise_is_pooled_over_the_settings() -> None:
    assert pooled_share([[9.0, 10.0, 11.0], [100.0, 100.0, 100.0]]) == pytest.approx(0.1 / 2**0.5)


def test_a_setting_within_the_noise_of_the_best_cannot_be_told_from_it() -> None:
    throughputs = [[99.0, 100.0, 101.0], [98.0, 99.0, 100.0], [49.0, 50.0, 51.0]]
    assert tied_with_best(throughputs, highest=True) == [True, True, False]
    assert tied_with_best(throughputs, highest=False) == [False, False, True]


def test_the_table_tells_mean_and_spread_and_marks_the_best(tmp_path: Path) -> None:
    e2el_ms = {(SMALL, 0): 40.0, (SMALL, 1): 44.0, (LARGE, 0): 200.0, (LARGE, 1): 220.0}
    runs = tuple(
        run(due, e2el_ms=e2el_ms[due.setting, due.repeat])
        for due in schedule(HEADER.settings, repeats=2, seed=0)
    )
    found = list(table(Recording(header=HEADER, launches=(LAUNCHED,), runs=runs)))
    assert found == [
        "| `max_num_seqs`, `max_num_batched_tokens` | saturated output_throughput | "
        "saturated p95_e2el_ms | offered p95_ttft_ms | offered p95_tpot_ms | "
        "offered p95_e2el_ms |",
        "|---|---|---|---|---|---|",
        "| 4, 32 | **2.4 ± 0.0** | **42.0 ± 2.8** | **20.1 ± 0.0** | **10.9 ± 1.4** | "
        "**42.0 ± 2.8** |",
        "| 128, 2048 | **2.4 ± 0.0** | 210 ± 14 | **20.1 ± 0.0** | 94.9 ± 7.1 | 210 ± 14 |",
    ]
