"""Trials and terminals for tests of what is shown while a study runs."""

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from objectives import Goal, Judgement, Quadrant, Verdict
from results.record import TrialRecord
from search_spaces import Config
from tuner.progress import State
from tuner.progress.live import Live

CONFIG: Config = {
    "max_num_seqs": 256,
    "max_num_batched_tokens": 8192,
    "tensor_parallel_size": 2,
    "batch_wait_timeout_ms": 0,
    "kv_cache_dtype": "auto",
}
MET = Judgement(limit=500.0, value=212.4, share=1.0, verdict=Verdict.MET, excess=-1.2)
BROKEN = Judgement(limit=40.0, value=50.0, share=0.2, verdict=Verdict.BROKEN, excess=0.3)
NOBODY: Mapping[Quadrant, TrialRecord | None] = dict.fromkeys(Quadrant)
VALUES = Quadrant.INTERACTIVE.values


@dataclass
class Clock:
    now_s: float = 1000.0

    def __call__(self) -> float:
        return self.now_s


def trial(number: int = 6, **changes: Any) -> TrialRecord:
    known: dict[str, Any] = {
        "objective": "chat",
        "config": CONFIG,
        "origin": "sampler",
        "loads": {
            "offered": {"p95_ttft_ms": 212.4},
            "capacity": {"capacity": 31.16, "capacity_per_gpu": 7.79, "gpus_needed": 1},
        },
        "sla": {"p95_ttft_ms<=500": MET},
    }
    return TrialRecord(number=number, launch_id=number, **{**known, **changes})


def at(number: int, capacity: float, ttft_ms: float, **changes: Any) -> TrialRecord:
    """A trial by its two values."""
    loads = {
        "offered": {"p95_ttft_ms": ttft_ms},
        "capacity": {
            "capacity": 4 * capacity,
            "capacity_per_gpu": capacity,
            "gpus_needed": 3,
            "output_throughput_per_gpu": 200 * capacity,
        },
    }
    return trial(number, loads=loads, **changes)


def tried() -> list[TrialRecord]:
    """A default in the middle, a front of three, one that they leave behind, one that breaks."""
    return [
        at(0, 20.0, 110.0, origin="default"),
        at(1, 16.0, 60.0),
        at(2, 24.0, 180.0),
        at(3, 21.0, 90.0),
        at(4, 17.0, 150.0),
        at(5, 8.0, 900.0, sla={"p95_ttft_ms<=500": BROKEN}),
    ]


def state(done: int = 7, **changes: Any) -> State:
    known: dict[str, Any] = {"planned": 40, "engine_s": 700.0, "budget_s": None, "elapsed_s": 14.0}
    return State(done=done, **{**known, **changes})


def screen(
    width: int,
    height: int = 25,
    *,
    axes: Mapping[str, tuple[Goal, Goal]] | None = None,
    known: Sequence[TrialRecord] = (),
    **console: Any,
) -> tuple[Console, Clock, Live]:
    clock = Clock()
    known_of_it: dict[str, Any] = {"file": io.StringIO(), "width": width, "height": height}
    made = Console(force_terminal=True, **{**known_of_it, **console})
    knobs = ["tensor_parallel_size", "max_num_seqs"]
    return made, clock, Live(made, knobs, clock, axes or {}, known)


def written(console: Console) -> str:
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def frame(console: Console) -> list[str]:
    """The lines that stand in the terminal, as drawn last."""
    last = re.split(r"\x1b\[(?:2K|H)", written(console))[-1]
    drawn = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", last)
    return [line.rstrip() for line in drawn.splitlines()]


def redrawn(live: Live, console: Console) -> list[str]:
    """The frame as it is now."""
    live.refresh()
    return frame(console)
