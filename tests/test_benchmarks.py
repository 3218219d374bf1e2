import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
EVERY = ["paretune", "machine", "cpu_pressure_avg10_percent"]
RUN = [
    "requests",
    "output_tokens",
    "engine_steps",
    "mean_running_per_replica",
    "simulated_s",
    "first_wall_s",
    "median_wall_s",
    "median_cpu_s",
    "engine_steps_per_s",
    "requests_per_s",
    "simulated_s_per_s",
]
START = ["median_cpu_s", "median_wall_s", "least_cpu_s", "most_cpu_s"]


def measured(benchmark: str, *options: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{benchmark}", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_startup_tells_what_help_costs_beside_a_bare_python(tmp_path: Path) -> None:
    out = tmp_path / "startup.json"
    found = measured("startup", "--runs", "1", "--out", str(out))
    assert list(found) == [*EVERY, "runs", "tune --help", "python -c pass"]
    assert list(found["tune --help"]) == list(found["python -c pass"]) == START
    assert json.loads(out.read_text("utf-8")) == found


def test_simulator_speed_tells_steps_a_second_by_model_and_configs_a_second() -> None:
    few = ("--requests", "60", "--repeats", "1", "--configs", "4", "--processes", "2")
    found = measured("simulator_speed", "--request-rate", "4", *few)
    assert list(found) == [
        *EVERY,
        "config",
        "request_rate_per_s",
        "repeats",
        "by_model",
        "search",
    ]
    assert list(found["by_model"]) == ["measured kernels", "roofline", "linear"]
    for model in found["by_model"].values():
        # One prefill step and one step for each further token, on each of four replicas.
        assert model["decode_only"]["engine_steps"] == 4 * 512
        assert list(model["chat"]) == ["engine_steps", "median_cpu_s", "engine_steps_per_cpu_s"]
    assert (found["search"]["configs"], found["search"]["processes"]) == (4, 2)


def test_study_speed_tells_what_a_whole_study_takes() -> None:
    found = measured("study_speed", "--trials", "1", "--requests", "60", "--mlflow", "off")
    assert list(found) == [
        *EVERY,
        "command",
        "exit_status",
        "trials",
        "wall_s",
        "cpu_s",
        "wall_s_per_trial",
        "cpu_s_per_trial",
        "peak_rss_mb",
        "simulated_engine_s",
    ]
    assert (found["command"], found["trials"]) == (
        "tune --objective chat --trials 1 --requests 60 --mlflow off",
        1,
    )


def test_a_benchmark_names_the_machine_it_ran_on_and_how_busy_that_was() -> None:
    found = measured("startup", "--runs", "1")
    assert list(found["machine"]) == ["cores", "cpu", "python", "system"]
    assert found["machine"]["python"] == sys.version.split()[0]
    assert list(found["cpu_pressure_avg10_percent"]) == ["before", "after"]


def test_client_speed_tells_what_one_worker_carries_and_how_late_it_reads() -> None:
    found = measured("client_speed", "--rates", "500", "--streams", "5", "--seconds", "0.5")
    assert list(found) == [*EVERY, "void", "streams", "seconds", "runs"]
    (run,) = found["runs"]
    assert (run["asked_chunks_per_s"], run["errors"]) == (500.0, 0)
    assert 0 <= run["p50_added_ms"] <= run["p99_added_ms"]


def test_mlflow_speed_tells_how_soon_each_trial_is_written() -> None:
    found = measured("mlflow_speed", "--trials", "2", "--requests", "60")
    assert list(found) == [
        *EVERY,
        "command",
        "trials",
        "wall_s",
        "written_in_s",
        "written_after_its_trial_s",
        "artifacts_mb",
    ]
    assert found["trials"] == 2
    assert list(found["written_in_s"]) == ["median", "p95", "most"]


def test_changes_tells_how_often_a_change_is_called_one() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.changes", "--studies", "20", "--pairs", "5"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert lines[-8].startswith("| runs | sd between runs | sd between days | level told at ")
    assert lines[-7].startswith("| --- |")
    assert all(line.startswith("| 5 | ") for line in lines[-6:])
