"""A study from beginning to end, begun anew or taken up again."""

import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

import optuna

from results.text import render
from runners import Runner
from runners.simulated import SimulatedRunner
from tuner import answer, storage
from tuner.errors import BadInput, Exit
from tuner.folder import Folder
from tuner.mirror import Mirror
from tuner.mlflow_study import open_mlflow, remember, tracking_uri
from tuner.options import Options
from tuner.problem import Problem
from tuner.progress import progress
from tuner.sizing import size_to_default
from tuner.spec import StudySpec, deployment_of, differences, problem_of, resolve
from tuner.study import Loop

STUDIES = Path("studies")


def runner_of(spec: StudySpec) -> Runner:
    """The engine a study launches."""
    return {"simulated": SimulatedRunner}[spec.engine](deployment_of(spec))


def begin(options: Options) -> Exit:
    """``tune --objective NAME``."""
    started_s = time.monotonic()
    spec, flows = resolve(options)
    study = options.study or f"{spec.objective}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    folder = Folder(options.output or STUDIES / study)
    _refuse_another(folder, spec, options)
    runner = runner_of(spec)
    problem = problem_of(spec, tuple(flow.workload for flow in flows))
    say = _speaker(options.quiet or options.json)
    say(opening(spec, problem, runner))
    for flow in flows:
        for note in flow.notes:
            say(f"{flow.workload.name}: {note}")
    problem = size_to_default(problem, runner, spec.sized_to_default, say)
    folder.create()
    folder.write_workloads([case.workload for case in problem.cases])
    studies = storage.create(folder, spec, study, problem, options.storage)
    return _run(study, spec, problem, runner, folder, studies, options, started_s)


def resume(
    path: Path, *, storage_url: str | None, mlflow: str | None, json: bool, quiet: bool
) -> Exit:
    """``tune resume DIR``: the rest of a study; a finished one prints its result."""
    started_s = time.monotonic() - wall_s(Folder(path))
    folder = Folder(path)
    study, spec, studies = storage.load(folder, storage_url)
    problem = problem_of(spec, folder.read_workloads([p.name for p in spec.profiles]))
    options = Options(mlflow=mlflow, json=json, quiet=quiet, storage=storage_url)
    folder.create()
    return _run(study, spec, problem, runner_of(spec), folder, studies, options, started_s)


def _refuse_another(folder: Folder, spec: StudySpec, options: Options) -> None:
    if options.storage is not None or not folder.database.exists():
        if folder.path.exists() and not folder.path.is_dir():
            raise BadInput(f"{folder.path} is a file; --output needs a folder.")
        return
    _, there, _ = storage.load(folder, None)
    other = differences(spec, there)
    what = f"another study, which differs in {', '.join(other)}" if other else "this very study"
    raise BadInput(
        f"{folder.path} already holds {what}; `tune resume {folder.path}` continues it, "
        "another --output keeps both."
    )


def opening(spec: StudySpec, problem: Problem, runner: Runner) -> str:
    """The first line: which engine, and what it serves."""
    about = runner.description
    kind = f"Simulated engine ({about.version})" if about.simulated else f"Engine {about.engine}"
    doubt = f" {about.uncertainty}" if about.simulated else ""
    return f"{kind}: {spec.model.name} on {spec.gpus} x {spec.gpu.name}.{doubt}"


def _speaker(silent: bool) -> Callable[[str], None]:
    def say(sentence: str) -> None:
        if not silent:
            print(sentence, file=sys.stderr, flush=True)

    return say


def _run(
    study: str,
    spec: StudySpec,
    problem: Problem,
    runner: Runner,
    folder: Folder,
    studies: list[optuna.Study],
    options: Options,
    started_s: float,
) -> Exit:
    about = answer.facts(study, spec, problem, runner.description)
    remember(options.mlflow, studies[0])
    uri = tracking_uri(options.mlflow, folder, studies[0])
    mirror = None if uri is None else Mirror(lambda: open_mlflow(uri, about, spec, studies[0]))
    loop = Loop(
        problem=problem,
        runner=runner,
        studies=studies,
        selection=answer.selection(problem),
        folder=folder,
        progress=progress(quiet=options.quiet, json=options.json),
        mirror=mirror.write if mirror else lambda record: None,
        trials=spec.trials,
        budget_s=spec.budget_s,
    )
    interrupted = False
    try:
        with _ended_by_sigterm(), loop.progress:
            loop.run()
    except KeyboardInterrupt:
        interrupted = True
    found = answer.summary(about, problem, loop.records, time.monotonic() - started_s)
    folder.write_summary(found)
    folder.write_best(answer.best_files(found, spec, problem.space))
    _print(found, folder, options)
    if mirror:
        _finish(mirror, found, folder, loop, options, wait_s=5.0 if interrupted else 60.0)
    if interrupted:
        _say_interrupted(found, spec, folder)
        return Exit.INTERRUPTED
    return answer.exit_status(found, spec)


def _print(found: dict[str, Any], folder: Folder, options: Options) -> None:
    if options.json:
        print(json.dumps(found, indent=2, allow_nan=False))
    else:
        print(render(found, folder=str(folder.path)))


def _finish(
    mirror: Mirror,
    found: dict[str, Any],
    folder: Folder,
    loop: Loop,
    options: Options,
    *,
    wait_s: float,
) -> None:
    files = [folder.summary, *sorted(folder.best.glob("*.yaml"))]
    answered = [r for r in loop.records if r.answered]
    link = mirror.finish(found, files, answered, wait_s=wait_s)
    say = _speaker(options.quiet or options.json)
    if link is None:
        trouble = mirror.trouble or "MLflow has not taken all of the study"
        print(f"{trouble}; `tune sync {folder.path}` makes it good.", file=sys.stderr)
    else:
        say(f"MLflow: {link}")


def _say_interrupted(found: dict[str, Any], spec: StudySpec, folder: Folder) -> None:
    of = f" of {spec.trials}" if spec.trials else ""
    print(
        f"\nInterrupted after {found['trials']['done']}{of} trials; nothing is lost. "
        f"Go on with: tune resume {folder.path}",
        file=sys.stderr,
    )


def wall_s(folder: Folder) -> float:
    """Time spent on the study so far; nothing else of ``summary.json`` is ever read back."""
    try:
        return float(json.loads(folder.summary.read_text("utf-8"))["cost"]["wall_s"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """SIGTERM ends a study as Ctrl-C does."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
