"""What a whole study takes on the simulated engine, as JSON: python -m benchmarks.study_speed"""

import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.child import spent, tune
from benchmarks.machine import options, publish


def measure(trials: int, requests: int, mlflow: str | None) -> Mapping[str, Any]:
    """One study in an empty folder, by the defaults but for what is given."""
    asked = ["--objective", "chat", "--trials", str(trials), "--requests", str(requests)]
    asked += ["--mlflow", mlflow] if mlflow else []
    with TemporaryDirectory() as folder:
        taken = spent([tune(), *asked, "--output", "study"], folder=Path(folder))
        summary_json = Path(folder, "study", "summary.json")
        if not summary_json.exists():
            raise SystemExit(f"tune {' '.join(asked)} fails with exit status {taken.status}.")
        summary = json.loads(summary_json.read_text("utf-8"))
    done = summary["trials"]["done"]
    return {
        "command": f"tune {' '.join(asked)}",
        "exit_status": taken.status,
        "trials": done,
        "wall_s": round(taken.wall_s, 2),
        "cpu_s": round(taken.cpu_s, 2),
        "wall_s_per_trial": round(taken.wall_s / done, 3),
        "cpu_s_per_trial": round(taken.cpu_s / done, 3),
        "peak_rss_mb": round(taken.peak_rss_mb, 1),
        "simulated_engine_s": round(summary["cost"]["engine_s"], 1),
    }


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--trials", type=int, default=40, metavar="N")
    parser.add_argument("--requests", type=int, default=600, metavar="N")
    parser.add_argument("--mlflow", metavar="URI|off", help="as `tune --mlflow`")
    given = parser.parse_args()
    publish(lambda: measure(given.trials, given.requests, given.mlflow), given.out)


if __name__ == "__main__":
    main()
