"""What ``tune --help`` costs, as JSON: python -m benchmarks.startup"""

import sys
from collections.abc import Mapping
from statistics import median
from typing import Any

from benchmarks.child import spent, tune
from benchmarks.machine import options, publish


def of(command: list[str], runs: int) -> dict[str, float]:
    """Medians; a first run, which finds nothing in the page cache, does not count."""
    spent(command)
    taken = [spent(command) for _ in range(runs)]
    if any(one.status for one in taken):
        raise SystemExit(f"{' '.join(command)} fails.")
    return {
        "median_cpu_s": round(median(one.cpu_s for one in taken), 4),
        "median_wall_s": round(median(one.wall_s for one in taken), 4),
        "least_cpu_s": round(min(one.cpu_s for one in taken), 4),
        "most_cpu_s": round(max(one.cpu_s for one in taken), 4),
    }


def measure(runs: int) -> Mapping[str, Any]:
    return {
        "runs": runs,
        "tune --help": of([tune(), "--help"], runs),
        "python -c pass": of([sys.executable, "-c", "pass"], runs),
    }


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--runs", type=int, default=10, metavar="N")
    given = parser.parse_args()
    publish(lambda: measure(given.runs), given.out)


if __name__ == "__main__":
    main()
