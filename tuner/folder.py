"""A study's folder: where everything a study writes goes, each file whole or not at all."""

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd

from objectives import LoadName, Measurement, Workload
from results.record import TrialRecord
from tuner.errors import BadInput
from tuner.traces import read_workload, write_workload


class Folder:
    """Paths inside a study's folder, and what is written there."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def database(self) -> Path:
        return self.path / "study.db"

    @property
    def trials(self) -> Path:
        return self.path / "trials.jsonl"

    @property
    def summary(self) -> Path:
        return self.path / "summary.json"

    @property
    def best(self) -> Path:
        return self.path / "best"

    def create(self) -> None:
        """Make the folder and its subfolders, and prove that they can be written to.

        Raises:
            BadInput: they cannot.
        """
        try:
            for name in ("requests", "best", "logs", "workloads"):
                (self.path / name).mkdir(parents=True, exist_ok=True)
            write_text(self.path / "logs" / ".writable", "")
            (self.path / "logs" / ".writable").unlink()
        except OSError as error:
            raise BadInput(
                f"Cannot write to {self.path}: {error.strerror}; choose another --output."
            ) from error

    def write_workloads(self, workloads: Sequence[Workload]) -> None:
        for workload in workloads:
            write_workload(workload, self.path / "workloads" / f"{workload.name}.jsonl")

    def read_workloads(self, names: Sequence[str]) -> tuple[Workload, ...]:
        return tuple(read_workload(self.path / "workloads" / f"{name}.jsonl") for name in names)

    def append(self, records: Sequence[TrialRecord]) -> None:
        """Add answered trials to ``trials.jsonl``."""
        with self.trials.open("a", encoding="utf-8") as file:
            file.writelines(record.to_json() + "\n" for record in records)

    def rewrite(self, records: Sequence[TrialRecord]) -> None:
        """Make ``trials.jsonl`` anew from what the database holds."""
        write_text(self.trials, "".join(record.to_json() + "\n" for record in records))

    def write_requests(
        self, number: int, loads: Mapping[str, Mapping[LoadName, Measurement]]
    ) -> None:
        """Every request of a trial, one row each, by objective and load."""
        rows = [
            {
                "objective": objective,
                "load": load,
                "arrival_s": r.arrival_s,
                "input_tokens": r.input_tokens,
                "output_tokens": r.output_tokens,
                "completed": r.completed,
                "ttft_ms": r.ttft_ms,
                "tpot_ms": r.tpot_ms,
                "e2el_ms": r.e2el_ms,
                "preemptions": r.preemptions,
            }
            for objective, measured in loads.items()
            for load, measurement in measured.items()
            for r in measurement.results
        ]
        path = self.path / "requests" / f"{number}.parquet"
        partial = path.with_suffix(".partial")
        pd.DataFrame(rows).to_parquet(partial, index=False)
        partial.replace(path)

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        write_text(self.summary, json.dumps(summary, indent=2, allow_nan=False) + "\n")

    def write_best(self, texts: Mapping[str, str]) -> None:
        """``best/<quadrant>.yaml`` for every winner; a former winner's file goes."""
        for old in self.best.glob("*.yaml"):
            if old.stem not in texts:
                old.unlink()
        for quadrant, text in texts.items():
            write_text(self.best / f"{quadrant}.yaml", text)


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
