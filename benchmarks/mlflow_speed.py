"""What MLflow takes of a simulated study, as JSON: python -m benchmarks.mlflow_speed"""

from collections.abc import Mapping
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import optuna

from benchmarks.child import spent, tune
from benchmarks.machine import options, publish

if TYPE_CHECKING:
    from mlflow.entities import Run


def measure(trials: int, requests: int, uri: str | None) -> Mapping[str, Any]:
    """From MLflow's own times of each run, and Optuna's of when the trial was over."""
    asked = ["--objective", "chat", "--trials", str(trials), "--requests", str(requests)]
    asked += ["--pairs", "0"]
    with TemporaryDirectory() as name:
        folder = Path(name)
        mirror = uri or f"sqlite:///{folder}/mlflow.db"
        mine = [tune(), *asked, "--mlflow", mirror, "--study", folder.name, "--output", "study"]
        taken = spent(mine, folder=folder)
        if taken.status not in (0, 3):
            raise SystemExit(f"tune {' '.join(asked)} fails with exit status {taken.status}.")
        written = _runs(mirror, folder.name)
        over_ms = _over_ms(folder / "study" / "study.db")
        kept = sum(f.stat().st_size for f in folder.rglob("mlartifacts/**/*") if f.is_file())
    took_s = [(run.info.end_time - run.info.start_time) / 1000 for run in written.values()]
    late_s = [(run.info.end_time - over_ms[n]) / 1000 for n, run in written.items()]
    return {
        "command": f"tune {' '.join(asked)}",
        "trials": len(written),
        "wall_s": round(taken.wall_s, 1),
        "written_in_s": _spread(took_s),
        "written_after_its_trial_s": _spread(late_s),
        "artifacts_mb": round(kept / 1e6, 1),
    }


def _runs(uri: str, study: str) -> dict[int, "Run"]:
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    experiments = [e.experiment_id for e in client.search_experiments()]
    condition = f"tags.`tuner.study` = '{study}'"
    found = client.search_runs(experiments, condition, max_results=50_000)
    numbered = {run.data.tags.get("tuner.trial"): run for run in found}
    return {int(number): run for number, run in numbered.items() if number is not None}


def _over_ms(database: Path) -> dict[int, float]:
    storage = f"sqlite:///{database}"
    (name,) = optuna.get_all_study_names(storage)
    trials = optuna.load_study(study_name=name, storage=storage).trials
    return {t.number: t.datetime_complete.timestamp() * 1e3 for t in trials if t.datetime_complete}


def _spread(seconds: list[float]) -> dict[str, float]:
    return {
        "median": round(median(seconds), 3),
        "p95": round(quantiles(seconds, n=20)[-1], 3),
        "most": round(max(seconds), 3),
    }


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--trials", type=int, default=500, metavar="N")
    parser.add_argument("--requests", type=int, default=600, metavar="N")
    parser.add_argument("--mlflow", metavar="URI", help="another database or a server")
    given = parser.parse_args()
    publish(lambda: measure(given.trials, given.requests, given.mlflow), given.out)


if __name__ == "__main__":
    main()
