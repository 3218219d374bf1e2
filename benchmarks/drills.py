"""Rounds on real vLLM too long for CI, and their dated table: scripts/drills [NAME...]

What passed at this commit is not run again. Each drill is one `tune` command and what its JSON
must say.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.child import tune
from benchmarks.machine import cpu_model
from tuner.make_model import make_model

ROOT = Path(__file__).parents[1]
KEPT = ROOT / "docs" / "drills.json"
TABLE = ROOT / "docs" / "drills.md"
LOAD = (
    *("--input-tokens", "64", "--output-tokens", "16", "--concurrency", "4", "--requests", "40"),
    *("--sla", "median_e2el_ms<=60000"),  # 40 requests say nothing of a 95th percentile
)


@dataclass(frozen=True, slots=True)
class Drill:
    about: str
    arguments: tuple[str, ...]
    """Of `tune measure` on the tiny model."""
    holds: Callable[[Mapping[str, Any]], bool] = lambda found: True


DRILLS: Mapping[str, Drill] = {
    "tensor-parallel": Drill(
        "one config at tensor_parallel_size 2 on two groups of cores",
        ("--gpus", "2", "--set", "tensor_parallel_size=2", "--set", "enforce_eager=true"),
        lambda found: found["config"]["tensor_parallel_size"] == 2,
    ),
    "data-parallel": Drill(
        "one config as two replicas",
        ("--gpus", "2", "--set", "tensor_parallel_size=1", "--set", "enforce_eager=true"),
        lambda found: found["config"]["data_parallel_size"] == 2,
    ),
    "compiled": Drill(
        "one config with torch.compile, as vLLM comes",
        (),
        lambda found: "enforce_eager" not in found["config"],
    ),
    "draft-model": Drill(
        "speculation by a draft model",
        ("--set", "speculative_config=draft:{model}", "--set", "enforce_eager=true"),
        lambda found: found["metrics"]["draft_tokens"] > 0,
    ),
}


def main() -> None:
    wanted = sys.argv[1:] or list(DRILLS)
    if strangers := [name for name in wanted if name not in DRILLS]:
        raise SystemExit(f"There is no drill {strangers[0]}; there are {', '.join(DRILLS)}.")
    kept = json.loads(KEPT.read_text("utf-8")) if KEPT.exists() else {}
    commit = _commit()
    for name in wanted:
        if kept.get(name, {}).get("commit") == commit and kept[name]["passed"]:
            continue
        print(f"{name}: {DRILLS[name].about}", flush=True)
        kept[name] = _run(DRILLS[name]) | {"commit": commit}
        print(json.dumps(kept[name]), flush=True)
        KEPT.write_text(json.dumps(kept, indent=1) + "\n", "utf-8")
        TABLE.write_text(_table(kept), "utf-8")
    raise SystemExit(0 if all(kept[name]["passed"] for name in wanted) else 1)


def _run(drill: Drill) -> dict[str, Any]:
    with TemporaryDirectory() as folder:
        model = Path(folder, "tiny")
        make_model(model)
        more = [word.format(model=model) for word in drill.arguments]
        asked = ["measure", "--objective", "api", "--engine", "vllm", "--model", str(model)]
        began_s = time.monotonic()
        done = subprocess.run(
            [tune(), *asked, *LOAD, *more], capture_output=True, text=True, check=False
        )
    found = json.loads(done.stdout) if done.returncode == 0 else None
    metrics = found["metrics"] if found else {}
    completed = metrics.get("completed", 0)
    passed = bool(found) and completed == 40 and drill.holds(found or {})
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": cpu_model(),
        "vllm": found["engine"]["version"] if found else None,
        "passed": passed,
        "seconds": round(time.monotonic() - began_s),
        "completed": completed,
        "p95_ttft_ms": metrics.get("p95_ttft_ms"),
        "p95_tpot_ms": metrics.get("p95_tpot_ms"),
        "said": None if passed else done.stderr.strip()[-300:],
    }


def _table(kept: Mapping[str, Mapping[str, Any]]) -> str:
    head = (
        "# Drills\n\nRounds on real vLLM that are too long for CI, run by hand with "
        "`scripts/drills`: 40 requests of 64 tokens in and 16 out, 4 in flight, a tiny Llama with "
        "random weights. Times are of a busy machine and only show that requests were served.\n\n"
        "| drill | what | date | vLLM | passed | requests served | took |\n"
        "|---|---|---|---|---|---|---|\n"
    )
    rows = [
        f"| {name} | {DRILLS[name].about} | {run['date']} | {run['vllm']} | "
        f"{'yes' if run['passed'] else 'no'} | {run['completed']} of 40 | {run['seconds']} s |\n"
        for name, run in kept.items()
        if name in DRILLS
    ]
    return head + "".join(rows)


def _commit() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


if __name__ == "__main__":
    main()
