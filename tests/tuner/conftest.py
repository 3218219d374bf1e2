"""A study on an engine whose figures are known, for tests of the loop."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import optuna
import pytest

from objectives import Load, Measurement, RequestResult
from results.record import TrialRecord
from runners import Failure, FailureKind
from runners.replay import ReplayRunner
from search_spaces import Config
from tuner import answer, storage
from tuner.cli import main
from tuner.folder import Folder
from tuner.options import Options
from tuner.progress.silent import Silent
from tuner.spec import problem_of, resolve
from tuner.study import Loop

TRAFFIC: dict[str, Any] = {
    "input_tokens": 64,
    "output_tokens": 8,
    "requests": 60,
    "request_rate": 4.0,
}


def served(config: Config, load: Load) -> Measurement:
    """What a queue would do: latency grows as the rate nears what the config can carry.

    Only ``tensor_parallel_size`` and ``max_num_seqs`` matter.
    """
    workload = load.workload
    sharded = int(config["tensor_parallel_size"])
    most = min(int(config["max_num_seqs"]), 256) / 16 / sharded**0.5
    busy = workload.request_rate / most
    waiting = 1 / (1 - busy) if busy < 0.99 else 100 * busy
    ttft_ms = 40.0 / sharded * waiting
    e2el_ms = ttft_ms + 7 * (10.0 / sharded + 20 * min(busy, 1))
    results = tuple(
        RequestResult(r.arrival_s, r.input_tokens, r.output_tokens, ttft_ms, e2el_ms)
        for r in workload.requests
    )
    return Measurement(
        results=results,
        duration_s=len(results) / min(workload.request_rate, most),
        gpus=4,
        engine={"mean_running": 256 * min(busy, 1)},
    )


QUICK = (
    *("--objective=chat", "--input-tokens=64", "--output-tokens=8", "--requests=60"),
    *("--request-rate=20", "--load=offered", "--gpu=l4", "--gpus=1", "--mlflow=off"),
    "--sla=p95_e2el_ms<=60000",
)
"""A study on the simulated engine that takes milliseconds a trial and has winners."""


@dataclass(frozen=True, slots=True)
class Ended:
    """What a command came to."""

    status: int
    out: str
    err: str


class Tune(Protocol):
    def __call__(self, *arguments: object) -> Ended: ...


@pytest.fixture
def tune(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Tune:
    """The command line, in this process."""

    def run(*arguments: object) -> Ended:
        monkeypatch.setattr("sys.argv", ["tune", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        status = ended.value.code or 0
        assert isinstance(status, int)
        return Ended(status, said.out, said.err)

    return run


class MakeLoop(Protocol):
    def __call__(
        self,
        runner: ReplayRunner | None = None,
        studies: Sequence[optuna.Study] | None = None,
        **options: Any,
    ) -> Loop: ...


@pytest.fixture
def replay() -> ReplayRunner:
    return ReplayRunner(measurements=served)


@pytest.fixture
def make_loop(tmp_path: Path) -> MakeLoop:
    """A loop whose storage is in memory; given another's ``studies``, it takes them up again."""

    def make(
        runner: ReplayRunner | None = None,
        studies: Sequence[optuna.Study] | None = None,
        **options: Any,
    ) -> Loop:
        spec, flows = resolve(Options(**{"objective": "chat", **TRAFFIC, **options}))
        problem = problem_of(spec, tuple(flow.workload for flow in flows))
        folder = Folder(tmp_path / "study")
        folder.create()
        if studies is None:
            backend = optuna.storages.InMemoryStorage()
            studies = storage.studies_in(backend, spec, "study", problem)
        return Loop(
            problem=problem,
            runner=runner or ReplayRunner(measurements=served),
            studies=studies,
            selection=answer.selection(problem),
            folder=folder,
            progress=Silent(),
            mirror=lambda record: None,
            trials=spec.trials,
            budget_s=spec.budget_s,
        )

    return make


def configs(records: Sequence[TrialRecord]) -> list[dict[str, Any]]:
    return [dict(record.config) for record in records]


def refuses(kind: FailureKind, which: Callable[[Config], bool]) -> ReplayRunner:
    return ReplayRunner(
        measurements=served,
        refusals=lambda config: Failure(kind, "said so") if which(config) else None,
    )
