"""A study from beginning to end, begun anew or taken up again."""

import json
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import optuna

from objectives import Request, Workload
from results.record import TrialRecord
from results.summary import StudyFacts
from runners import Runner
from runners.vllm import VllmRunner
from tuner import answer, storage
from tuner.certainty import with_intervals
from tuner.ending import Ending
from tuner.engines import engine_of
from tuner.errors import BadInput, EngineTrouble, Exit
from tuner.finals import Finals
from tuner.folder import Folder
from tuner.interrupts import Interrupts
from tuner.learning import Learning
from tuner.mirror import Mirror
from tuner.mlflow_study import open_mlflow, remember, tracking_uri
from tuner.options import Options
from tuner.problem import Problem
from tuner.progress import Progress, progress
from tuner.sizing import size_to_default
from tuner.spec import StudySpec, differences, problem_of, resolve
from tuner.study import Loop
from tuner.taught import taught
from tuner.teaching import Lessons
from tuner.traffic import Traffic
from tuner.trouble import explained

STUDIES = Path("studies")
ENGINES = {"vllm": "vLLM", "openai": "Running server"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """All that one process needs to work on a study."""

    study: str
    spec: StudySpec
    problem: Problem
    runner: Runner
    engines: ExitStack
    """Closing it ends whatever engine is still running."""
    folder: Folder
    options: Options
    interrupts: Interrupts
    started_s: float
    prepaid_s: float = 0.0
    """Engine time that sizing the offered load took."""


def begin(options: Options) -> Exit:
    """``tune --objective NAME``."""
    with Interrupts() as interrupts, ExitStack() as engines:
        with interrupts.let_in():
            run = _prepared(options, interrupts, engines)
        folder, asked = run.folder, options.storage
        with explained(folder, asked), folder.beginning():
            if folder.begun:
                raise BadInput(f"{folder.path} now holds a study that was begun meanwhile.")
            cases = run.problem.cases
            folder.write_workloads([c.workload for c in cases], [c.redrawn for c in cases])
            studies = storage.create(folder, run.spec, run.study, run.problem, asked)
            return _run(run, studies)


def resume(
    path: Path, *, storage_url: str | None, mlflow: str | None, json: bool, quiet: bool
) -> Exit:
    """``tune resume DIR``: the rest of a study; a finished one prints its result."""
    folder = Folder(path)
    url = storage.address(folder, storage_url)
    with (
        Interrupts() as interrupts,
        explained(folder, url),
        folder.locked(),
        ExitStack() as engines,
    ):
        started_s = time.monotonic() - wall_s(folder)
        study, spec, studies = storage.load(folder, url)
        names = [profile.name for profile in spec.profiles]
        run = Run(
            study=study,
            spec=spec,
            problem=problem_of(spec, folder.read_workloads(names), folder.read_redrawn(names)),
            runner=engines.enter_context(engine_of(spec, folder.logs, _speaker(quiet or json))),
            engines=engines,
            folder=folder,
            options=Options(mlflow=mlflow, json=json, quiet=quiet, storage=url),
            interrupts=interrupts,
            started_s=started_s,
        )
        folder.create()
        return _run(run, studies)


def _prepared(options: Options, interrupts: Interrupts, engines: ExitStack) -> Run:
    """The study as asked for, its offered load set; nothing is written."""
    started_s = time.monotonic()
    spec, flows = resolve(options)
    study = options.study or f"{spec.objective}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    folder = Folder(options.output or STUDIES / study)
    with explained(folder, options.storage):
        _refuse_another(folder, spec, flows, options.storage)
    say = _speaker(options.quiet or options.json)
    runner = engines.enter_context(engine_of(spec, folder.logs, say))
    problem = problem_of(
        spec, tuple(flow.workload for flow in flows), tuple(flow.redrawn for flow in flows)
    )
    say(opening(spec, runner))
    for flow in flows:
        for note in flow.notes:
            say(f"{flow.workload.name}: {note}")
    if spec.sized_to_default and not spec.simulated:
        log = f"; its log is {folder.logs / 'engine-0.log'}" if spec.target.command else ""
        say(f"Finding what the default config can carry, to set the offered load{log}.")
    problem, prepaid_s = size_to_default(problem, runner, spec.sized_to_default, say)
    return Run(
        study=study,
        spec=spec,
        problem=problem,
        prepaid_s=prepaid_s,
        runner=runner,
        engines=engines,
        folder=folder,
        options=options,
        interrupts=interrupts,
        started_s=started_s,
    )


def _refuse_another(
    folder: Folder, spec: StudySpec, flows: tuple[Traffic, ...], asked: str | None
) -> None:
    """A folder holds one study, which ``tune resume`` goes on with.

    Raises:
        BadInput: it holds one, or it is no folder.
    """
    if folder.path.exists() and not folder.path.is_dir():
        raise BadInput(f"{folder.path} is a file; --output needs a folder.")
    if not folder.begun:
        return
    if not (folder.database.exists() or folder.elsewhere.exists()):
        raise BadInput(
            f"{folder.path} holds the trials of a study whose database is gone; "
            "choose another --output."
        )
    _, there, _ = storage.load(folder, storage.address(folder, asked))
    other = [*differences(spec, there), *_other_traffic(folder, there, flows)]
    what = f"another study, which differs in {', '.join(other)}" if other else "this very study"
    raise BadInput(
        f"{folder.path} already holds {what}; `tune resume {folder.path}` continues it, "
        "another --output keeps both."
    )


def _other_traffic(folder: Folder, there: StudySpec, flows: tuple[Traffic, ...]) -> list[str]:
    """The workloads whose requests differ; rates sized to the hardware are no difference."""
    names = [profile.name for profile in there.profiles]
    if names != [flow.workload.name for flow in flows]:
        return []
    return [
        f"the workload of {name}"
        for name, flow, kept in zip(names, flows, folder.read_workloads(names), strict=True)
        if _requests(flow.workload, timed=not flow.sized_to_default)
        != _requests(kept, timed=not flow.sized_to_default)
    ]


def _requests(workload: Workload, *, timed: bool) -> list[Request]:
    return [r if timed else replace(r, arrival_s=0.0) for r in workload.requests]


def opening(spec: StudySpec, runner: Runner) -> str:
    """The first line: which engine, and what it serves."""
    about = runner.description
    where = spec.target
    kind = f"Simulated engine ({about.version})" if about.simulated else ENGINES[where.engine]
    version = "" if about.simulated else f" {about.version}"
    doubt = f" All figures are simulated; {about.uncertainty}." if about.simulated else ""
    hardware = f"{where.gpus} x {where.hardware}" if where.gpu else where.url
    return f"{kind}{version}: {where.model} on {hardware}.{doubt}"


def _speaker(silent: bool) -> Callable[[str], None]:
    def say(sentence: str) -> None:
        if not silent:
            print(sentence, file=sys.stderr, flush=True)

    return say


def _run(run: Run, studies: list[optuna.Study]) -> Exit:
    """Trials until there are enough, then the answer; the answer so far when cut short."""
    options, spec = run.options, run.spec
    about = answer.facts(run.study, spec, run.problem, run.runner.description)
    storage.describe(studies, run.runner.description)
    mirror = _mirror(run, studies, about)
    known = storage.records(studies)
    shown = _shown(run, known)
    learning = _learning(run, known, shown.note)
    loop = Loop(
        problem=run.problem,
        runner=run.runner,
        studies=studies,
        selection=answer.selection(run.problem),
        folder=run.folder,
        progress=shown,
        mirror=mirror.write if mirror else lambda record: None,
        trials=spec.trials,
        budget_s=spec.budget_s,
        pairs=spec.pairs,
        prepaid_s=run.prepaid_s,
        learn=learning.tried if learning else lambda records: None,
        interruptible=run.interrupts.let_in,
    )
    cut_short: KeyboardInterrupt | EngineTrouble | None = None
    answered = _answered(known)
    try:
        with loop.progress:
            loop.run()
            _confirm(run, studies, loop)
    except (KeyboardInterrupt, EngineTrouble) as error:
        cut_short = error
    run.engines.close()  # nothing more is measured, and GPUs cost
    found = answer.summary(
        about,
        run.problem,
        loop.records,
        time.monotonic() - run.started_s,
        storage.finalists(studies),
        storage.confirmations(studies),
    )
    found = with_intervals(found, run.problem, run.runner)
    ending = Ending(run.folder, spec, options, run.interrupts)
    ending.write(found, run.problem.space)
    if found["trials"]["done"]:
        ending.report(found, run.problem, loop.records, studies)
    if learning and cut_short is None and answered < _answered(loop.records):
        ending.learn(learning, loop.records)
    if mirror:
        ending.mirror(mirror, found, loop.records, hurried=cut_short is not None)
    if cut_short is None and answered and answered == _answered(loop.records):
        return Exit.DONE  # it was finished before: printing its result is all that was asked
    return ending.status(found, cut_short)


def _mirror(run: Run, studies: list[optuna.Study], about: StudyFacts) -> Mirror | None:
    remember(run.options.mlflow, studies[0])
    uri = tracking_uri(run.options.mlflow, run.folder, studies[0])
    if uri is None:
        return None
    return Mirror(lambda: open_mlflow(uri, about, run.spec, studies[0], run.folder))


def _shown(run: Run, known: Sequence[TrialRecord]) -> Progress:
    cases = run.problem.cases
    return progress(
        quiet=run.options.quiet,
        json=run.options.json,
        knobs=tuple(run.problem.space.searched),
        axes={c.profile.name: c.profile.values(capacity=run.problem.capacity) for c in cases},
        known=known,
    )


def _learning(
    run: Run, records: Sequence[TrialRecord], note: Callable[[str], None]
) -> Learning | None:
    """Of what was launched here, unless ``--calibration off``."""
    target = run.spec.target
    if not isinstance(run.runner, VllmRunner) or target.calibrations is None:
        return None
    lessons = Lessons(
        folder=run.folder,
        gpu=target.hardware,
        gpus=target.gpus,
        model=target.model,
        engine_version=run.runner.description.version,
        records=records,
        workloads={case.profile.name: case.workload for case in run.problem.cases},
    )
    return Learning(lessons, taught(target.calibrations), note)


def _confirm(run: Run, studies: list[optuna.Study], loop: Loop) -> None:
    """Measure the finalists anew, in turns with the default config."""
    spec = run.spec
    left_s = None if spec.budget_s is None else spec.budget_s - loop.state().engine_s
    finals = Finals(
        spec=spec,
        problem=run.problem,
        runner=run.runner,
        studies=studies,
        selection=loop.selection,
        folder=run.folder,
        progress=loop.progress,
        launches=loop.launches,
        interruptible=run.interrupts.let_in,
    )
    finals.run(loop.records, left_s=left_s)


def _answered(records: Sequence[TrialRecord]) -> int:
    return sum(record.answered for record in records)


def wall_s(folder: Folder) -> float:
    """Time spent on the study so far; nothing else of ``summary.json`` is ever read back."""
    try:
        return float(json.loads(folder.summary.read_text("utf-8"))["cost"]["wall_s"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0
