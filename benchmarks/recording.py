"""The file of a recorded surface: JSON lines for a header, every launch, and every run."""

import gzip
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Literal

from objectives import Measurement, Request, RequestResult, Workload
from search_spaces import Config

LoadName = Literal["offered", "saturated"]
LOADS: tuple[LoadName, ...] = ("offered", "saturated")
"""The workload at its own rate, and all of its requests at once."""
GPUS = 1


@dataclass(frozen=True, slots=True, order=True)
class Setting:
    """The live knobs that the surface is over."""

    max_num_seqs: int
    max_num_batched_tokens: int


@dataclass(frozen=True, slots=True, order=True)
class Due:
    """A run that the schedule asks for."""

    repeat: int
    setting: Setting
    load: LoadName


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What all runs have in common."""

    date: str
    engine: str
    model: str
    machine: Mapping[str, Any]
    cpu_pressure_avg10_percent: float | None
    """Before the first launch."""
    niceness: int
    """Of the recorder, its engine and its client; below 0 they go before what else there is."""
    config: Config
    """The default config; every setting is this with its own knobs."""
    settings: tuple[Setting, ...]
    repeats: int
    seed: int
    """Of the schedule."""
    saturated_request_throughput: float
    """The default config's, from which the rate was taken."""
    workload: Workload
    """The offered load; its requests at once are the saturated one."""

    def traffic(self, load: LoadName) -> Workload:
        return self.workload if load == "offered" else self.workload.at_rate(math.inf)


@dataclass(frozen=True, slots=True, kw_only=True)
class Launched:
    """One launch of the engine; a recording taken up again has several."""

    launch: int
    ready_s: float
    """From its start until it answered."""
    warm_s: float
    """From its start until it was warmed up."""
    cpu_pressure_avg10_percent: float | None
    """Before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One setting once under one load."""

    due: Due
    launch: int
    turn_s: float
    """What the run took besides its load: waiting until idle, and turning the knobs."""
    others_cpu_share: float
    """CPU time that other programs took while it ran, of all cores' time."""
    measurement: Measurement


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    header: Header
    launches: tuple[Launched, ...]
    runs: tuple[Run, ...]

    def of(self, setting: Setting, load: LoadName) -> tuple[Run, ...]:
        """By repeat."""
        found = [r for r in self.runs if (r.due.setting, r.due.load) == (setting, load)]
        return tuple(sorted(found, key=lambda run: run.due.repeat))


def read_recording(path: Path) -> Recording:
    """A finished recording or one under way, compressed or not; the last run of each that is due.

    Raises:
        ValueError: no recording.
    """
    lines = list(_lines(path))
    if not lines or lines[0].get("line") != "header":
        raise ValueError(f"A recording begins with its header, but {path} does not; record anew.")
    header = _header(lines[0])
    runs = [_run(line, header) for line in lines if line["line"] == "run"]
    return Recording(
        header=header,
        launches=tuple(_launched(line) for line in lines if line["line"] == "launch"),
        runs=tuple({run.due: run for run in runs}.values()),
    )


def append(path: Path, one: Header | Launched | Run) -> None:
    """Add a line and see it onto the disk; what a killed recorder left unfinished goes first."""
    match one:
        case Header():
            line = _header_line(one)
        case Launched():
            line = {"line": "launch", **asdict(one)}
        case Run():
            line = _run_line(one)
    with path.open("a+b") as file:
        _drop_torn_line(file)
        text = json.dumps(line, separators=(",", ":"), allow_nan=False)
        file.write(text.encode("ascii") + b"\n")
        file.flush()
        os.fsync(file.fileno())


def compress(path: Path, to: Path) -> None:
    """The same bytes for the same recording."""
    to.write_bytes(gzip.compress(path.read_bytes(), mtime=0))


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    content = path.read_bytes()
    text = gzip.decompress(content) if path.suffix == ".gz" else content
    # What follows the last newline was being written when the recorder was killed.
    return map(json.loads, text.split(b"\n")[:-1])


def _drop_torn_line(file: IO[bytes]) -> None:
    file.seek(0)
    file.truncate(file.read().rfind(b"\n") + 1)


def _header_line(header: Header) -> dict[str, Any]:
    requests = header.workload.requests
    return {
        "line": "header",
        **{name: getattr(header, name) for name in Header.__slots__},
        "settings": [asdict(setting) for setting in header.settings],
        "workload": {
            "name": header.workload.name,
            "source": header.workload.source,
            "request_rate": header.workload.request_rate,
            "arrival_s": [request.arrival_s for request in requests],
            "input_tokens": [request.input_tokens for request in requests],
            "output_tokens": [request.output_tokens for request in requests],
        },
    }


def _header(line: Mapping[str, Any]) -> Header:
    told = line["workload"]
    columns = (told["arrival_s"], told["input_tokens"], told["output_tokens"])
    workload = Workload(
        name=told["name"],
        source=told["source"],
        requests=tuple(Request(*fields) for fields in zip(*columns, strict=True)),
    )
    settings = tuple(Setting(**setting) for setting in line["settings"])
    known = {name: line[name] for name in Header.__slots__}
    return Header(**{**known, "settings": settings, "workload": workload})


def _launched(line: Mapping[str, Any]) -> Launched:
    return Launched(**{name: line[name] for name in Launched.__slots__})


def _run_line(run: Run) -> dict[str, Any]:
    """Arrivals and prompts are the header's; ``metrics`` are for those who read the file alone."""
    measured = run.measurement
    own = {k: v for k, v in measured.metrics.items() if k not in measured.engine}
    return {
        "line": "run",
        "repeat": run.due.repeat,
        **asdict(run.due.setting),
        "load": run.due.load,
        "launch": run.launch,
        "turn_s": run.turn_s,
        "others_cpu_share": run.others_cpu_share,
        "duration_s": round(measured.duration_s, 6),
        "metrics": {k: None if v is None else round(v, 4) for k, v in own.items()},
        "engine": dict(measured.engine),
        "output_tokens": [r.output_tokens for r in measured.results],
        "ttft_ms": _rounded([r.ttft_ms for r in measured.results]),
        "e2el_ms": _rounded([r.e2el_ms for r in measured.results]),
    }


def _run(line: Mapping[str, Any], header: Header) -> Run:
    setting = Setting(line["max_num_seqs"], line["max_num_batched_tokens"])
    requests = header.traffic(line["load"]).requests
    columns = (line["output_tokens"], line["ttft_ms"], line["e2el_ms"])
    results = tuple(
        RequestResult(request.arrival_s, request.input_tokens, *fields)
        for request, *fields in zip(requests, *columns, strict=True)
    )
    return Run(
        due=Due(line["repeat"], setting, line["load"]),
        launch=line["launch"],
        turn_s=line["turn_s"],
        others_cpu_share=line["others_cpu_share"],
        measurement=Measurement(
            results=results, duration_s=line["duration_s"], gpus=GPUS, engine=line["engine"]
        ),
    )


def _rounded(values_ms: Sequence[float | None]) -> list[float | None]:
    return [None if value is None else round(value, 2) for value in values_ms]
