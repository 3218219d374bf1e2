"""A study's folder: where everything a study writes goes, each file whole or not at all."""

import errno
import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

from objectives import LoadName, Measurement, Workload
from results.record import TrialRecord
from tuner.errors import BadInput
from tuner.requests_table import parquet
from tuner.traces import read_workload, write_workload

SUBFOLDERS = ("requests", "best", "confirm", "logs", "workloads")


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
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def requests(self) -> Path:
        """``<number>.parquet``: every request of a trial."""
        return self.path / "requests"

    @property
    def best(self) -> Path:
        return self.path / "best"

    @property
    def elsewhere(self) -> Path:
        """Which study of which database it is, where that is not ``study.db``."""
        return self.path / "storage.json"

    @property
    def begun(self) -> bool:
        """Whether it holds a study, be its database here or elsewhere."""
        return any(path.exists() for path in (self.database, self.elsewhere, self.trials))

    def create(self) -> None:
        """Make the folder and its subfolders, and prove that they can be written to.

        Raises:
            BadInput: they cannot.
        """
        try:
            for name in SUBFOLDERS:
                (self.path / name).mkdir(parents=True, exist_ok=True)
            write_whole(self.path / "logs" / ".writable", b"")
            (self.path / "logs" / ".writable").unlink()
        except OSError as error:
            raise BadInput(
                f"Cannot write to {self.path}: {error.strerror}; choose another --output."
            ) from error

    @contextmanager
    def beginning(self) -> Iterator[None]:
        """The folder, made for a new study and locked; gone again if that cannot be begun."""
        there = self.path.exists()
        try:
            self.create()
        except BadInput:
            for path in () if there else (*map(self.path.joinpath, SUBFOLDERS), self.path):
                with suppress(OSError):
                    path.rmdir()
            raise
        with self.locked():
            try:
                yield
            except BaseException:
                if not there and not self.begun:
                    shutil.rmtree(self.path, ignore_errors=True)
                raise

    @contextmanager
    def locked(self) -> Iterator[None]:
        """The folder for this process alone; the lock goes when the process does.

        Raises:
            BadInput: another process has it.
        """
        with (self.path / ".lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise BadInput(
                    f"{self.path} is in use by another tune process; wait for it or stop it."
                ) from error
            except OSError:
                pass  # a file system without locks
            yield

    def write_workloads(
        self, workloads: Sequence[Workload], redrawn: Sequence[tuple[Workload, ...]] = ()
    ) -> None:
        for workload in workloads:
            write_workload(workload, self._workload(workload.name))
        for draws in redrawn:
            for number, workload in enumerate(draws, 2):
                write_workload(workload, self._workload(f"{workload.name}.{number}"))

    def read_workloads(self, names: Sequence[str]) -> tuple[Workload, ...]:
        return tuple(read_workload(self._workload(name)) for name in names)

    def read_redrawn(self, names: Sequence[str]) -> list[tuple[Workload, ...]]:
        """Each workload drawn anew; none in a study that was begun without."""
        return [tuple(self._redrawn(name)) for name in names]

    def _redrawn(self, name: str) -> Iterator[Workload]:
        for number in count(2):
            path = self._workload(f"{name}.{number}")
            if not path.exists():
                return
            yield read_workload(path)

    def _workload(self, name: str) -> Path:
        return self.path / "workloads" / f"{name}.jsonl"

    def append(self, records: Sequence[TrialRecord]) -> None:
        """Add answered trials to ``trials.jsonl``: all their lines or none."""
        lines = "".join(record.to_json() + "\n" for record in records).encode()
        with self.trials.open("ab", buffering=0) as file:
            before = file.tell()
            try:
                if file.write(lines) < len(lines):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.trials))
            except OSError:
                file.truncate(before)
                raise

    def settle(self, records: Sequence[TrialRecord]) -> None:
        """Bring ``trials.jsonl`` and ``requests`` to what the database holds, and tidy up."""
        lines = "".join(record.to_json() + "\n" for record in records)
        write_whole(self.trials, lines.encode())
        kept = {f"{record.number}.parquet" for record in records}
        strays = [f for f in self.requests.iterdir() if f.name not in kept]
        for file in (*strays, *self.path.glob(".*.partial"), *self.best.glob(".*.partial")):
            file.unlink()

    def write_requests(
        self, number: int, loads: Mapping[str, Mapping[LoadName, Measurement]]
    ) -> None:
        """Every request of a trial, one row each, by objective and load."""
        write_whole(self.requests / f"{number}.parquet", parquet(loads))

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        text = json.dumps(summary, indent=2, allow_nan=False) + "\n"
        write_whole(self.summary, text.encode())

    def write_arm(self, name: str, text: str) -> Path:
        """A file to start what is measured once more from."""
        path = self.path / "confirm" / f"{name.replace(' ', '-')}.yaml"
        write_whole(path, text.encode())
        return path

    def write_best(self, texts: Mapping[str, str]) -> None:
        """``best/<quadrant>.yaml`` for every winner; a former winner's file goes."""
        for old in self.best.glob("*.yaml"):
            if old.stem not in texts:
                old.unlink()
        for quadrant, text in texts.items():
            write_whole(self.best / f"{quadrant}.yaml", text.encode())


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
