"""Runs of a noiseless engine, each simulated once and then known: in memory, and in a file.

By config, and by a workload's name, requests, rate and concurrency. A run is made in full: how
long anyone waits for it, and who watches it, is for the one who asks.
"""

import json
import math
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from objectives import Load, Measurement, RequestResult, Workload
from runners import EngineError, Failure, Runner
from search_spaces import Config

Floats = NDArray[np.float64]
IN_MEMORY = 2000
"""Runs; one of a thousand requests takes 24 kB."""
SIMULATION = ("objectives", "runners/simulated", "search_spaces")
ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class KnownRun:
    """One run in full: what became of each request, in order of arrival."""

    arrival_s: Floats
    ttft_ms: Floats
    e2el_ms: Floats
    gpus: int
    engine: dict[str, float]


@dataclass(slots=True)
class KnownRuns:
    """Simulates what is not known yet.

    The file is for one runner only; several processes may share it.
    """

    runner: Runner
    file: Path | None = None
    simulated: int = 0
    """How many runs were not known."""
    _launches: dict[str, float | Failure] = field(default_factory=dict)
    _runs: dict[str, KnownRun] = field(default_factory=dict)

    def launch_s(self, config: Config) -> float:
        """How long a launch takes.

        Raises:
            EngineError: it fails.
        """
        name = _name(config)
        if name not in self._launches:
            try:
                with self.runner.launch(config) as engine:
                    self._launches[name] = engine.age_s
            except EngineError as error:
                self._launches[name] = error.failure
        found = self._launches[name]
        if isinstance(found, Failure):
            raise EngineError(found.kind, found.detail)
        return found

    def run(self, config: Config, workload: Workload, *, faster: float = 1.0) -> KnownRun:
        """The workload at so many times its rate."""
        rate = workload.request_rate * faster
        timed = workload.concurrency is None and math.isfinite(rate)
        key = f"{_name(config)}/{_traffic(workload, timed=timed)}/{rate if timed else 0:.9g}"
        found = self._runs.get(key) or self._read(key)
        if found is None:
            self.simulated += 1
            hastened = workload.at_rate(rate) if timed and faster != 1 else workload
            with self.runner.launch(config) as engine:
                found = _known(engine.measure(Load(workload=hastened)))
            self._write(key, found)
        if len(self._runs) >= IN_MEMORY:
            del self._runs[next(iter(self._runs))]
        self._runs[key] = found
        return found

    def _read(self, key: str) -> KnownRun | None:
        if self.file is None:
            return None
        with _opened(self.file) as database:
            row = database.execute("SELECT * FROM runs WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        _, columns, gpus, engine = row
        return KnownRun(*np.frombuffer(columns).reshape(3, -1), gpus, json.loads(engine))

    def _write(self, key: str, run: KnownRun) -> None:
        if self.file is None:
            return
        columns = np.stack([run.arrival_s, run.ttft_ms, run.e2el_ms]).tobytes()
        row = (key, columns, run.gpus, json.dumps(run.engine))
        with _opened(self.file) as database:
            database.execute("INSERT OR IGNORE INTO runs VALUES (?, ?, ?, ?)", row)


def version_of(*more: str) -> str:
    """Changes with every file that a simulated figure may depend on, and with those of more."""
    folders = [ROOT / name for name in (*SIMULATION, *more)]
    files = sorted(f for folder in folders for f in folder.rglob("*.*") if f.suffix != ".pyc")
    kinds = (".py", ".yaml", ".csv")
    texts = [file.read_bytes() for file in files if file.suffix in kinds]
    return sha256(b"\0".join(texts)).hexdigest()[:12]


@contextmanager
def _opened(file: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(file, timeout=600)) as database, database:
        # What is lost when the machine stops is simulated again.
        database.execute("PRAGMA synchronous = OFF")
        database.execute(
            "CREATE TABLE IF NOT EXISTS runs (key PRIMARY KEY, columns, gpus, engine)"
        )
        yield database


def _name(config: Config) -> str:
    return json.dumps(config, sort_keys=True)


def _traffic(workload: Workload, *, timed: bool) -> str:
    """The workload's name and number of requests, and a digest of all but its rate."""
    requests = workload.requests
    tokens = np.array([(r.input_tokens, r.output_tokens, r.priority) for r in requests])
    blocks = [r.blocks for r in requests]
    spacing = np.array([r.arrival_s for r in requests]) * (workload.request_rate if timed else 0)
    digest = sha256(tokens.tobytes() + repr(blocks).encode() + _rounded(spacing)).hexdigest()[:16]
    return f"{workload.name}/{len(requests)}/{digest}/{workload.concurrency}"


def _rounded(spacing: Floats) -> bytes:
    """In mean gaps between arrivals."""
    return np.round(spacing - spacing[0], 3).tobytes()


def _known(measurement: Measurement) -> KnownRun:
    results = measurement.results
    return KnownRun(
        np.array([r.arrival_s for r in results]),
        _latencies(results, "ttft_ms"),
        _latencies(results, "e2el_ms"),
        measurement.gpus,
        dict(measurement.engine),
    )


def _latencies(results: Sequence[RequestResult], name: str) -> Floats:
    """Whoever waits for ever is answered."""
    assert all(result.completed for result in results)
    return np.array([getattr(result, name) for result in results])
