"""``tune show``, ``tune report`` and ``tune sync``: a study read back from its folder."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna

from results.confirmation import Finalist
from results.mlflow import MlflowError
from results.record import TrialRecord
from results.summary import StudyFacts
from runners import Description
from tuner import answer, storage
from tuner.certainty import with_intervals
from tuner.engines import simulated
from tuner.errors import BadInput
from tuner.folder import Folder, write_whole
from tuner.how_far import missing
from tuner.mirror import sync as sync_mlflow
from tuner.mlflow_study import (
    IDENTITY,
    kept_files,
    open_mlflow,
    remember,
    serving,
    tracking_uri,
)
from tuner.problem import Problem
from tuner.report import NAME, Finding, text
from tuner.run import wall_s
from tuner.spec import StudySpec, problem_of
from tuner.trouble import explained


@dataclass(frozen=True, slots=True)
class Read:
    """A study as it is in storage, finished or not."""

    spec: StudySpec
    problem: Problem
    summary: dict[str, Any]
    records: list[TrialRecord]
    confirmations: list[TrialRecord]
    """What was measured from files, in turns with the default."""
    studies: list[optuna.Study]
    identity: str
    """Tells it from every other study, whatever its name and folder."""
    begun: datetime | None
    """When its first trial was, with a time zone."""
    finalists: list[Finalist] | None
    """``None`` while it searches."""


def read(path: Path, storage_url: str | None) -> Read:
    """The study, its summary made anew from its trials."""
    folder = Folder(path)
    url = storage.address(folder, storage_url)
    with explained(folder, url):
        study, spec, studies = storage.load(folder, url)
        about, problem = _about(folder, study, spec, storage.description(studies))
        return Read(
            spec=spec,
            problem=problem,
            summary=_found(folder, about, spec, problem, studies),
            records=storage.records(studies),
            confirmations=storage.confirmations(studies),
            studies=studies,
            identity=studies[0].user_attrs[IDENTITY],
            begun=storage.begun(studies),
            finalists=storage.finalists(studies),
        )


def show(path: Path, storage_url: str | None) -> dict[str, Any]:
    """The summary of the trials in storage, finished or not."""
    return read(path, storage_url).summary


def report(path: Path, *, output: Path | None, storage_url: str | None) -> Path:
    """Write the report anew; says where.

    Raises:
        BadInput: no study, or a file that cannot be written.
    """
    folder, study = Folder(path), read(path, storage_url)
    found = Finding(
        folder=folder,
        spec=study.spec,
        problem=study.problem,
        summary=study.summary,
        records=study.records,
        confirmations=study.confirmations,
        studies=study.studies,
    )
    with explained(folder, storage.address(folder, storage_url)):
        page = text(found)
    place = output or path / NAME
    try:
        write_whole(place, page.encode())
    except OSError as error:
        raise BadInput(
            f"{place} cannot be written: {error.strerror or error}; name another with --output."
        ) from error
    return place


def sync(path: Path, *, mlflow: str | None, storage_url: str | None) -> str:
    """Bring MLflow up to the study; says how much was missing and where it is."""
    folder = Folder(path)
    url = storage.address(folder, storage_url)
    with explained(folder, url), folder.locked():
        return _sync(folder, mlflow, url)


def _sync(folder: Folder, mlflow: str | None, url: str | None) -> str:
    study, spec, studies = storage.load(folder, url)
    about, problem = _about(folder, study, spec, storage.description(studies))
    remember(mlflow, studies[0])
    uri = tracking_uri(mlflow, folder, studies[0])
    if uri is None:
        raise BadInput("This study was told --mlflow off; name a server with --mlflow URI.")
    records = [r for r in storage.records(studies) if r.answered]
    found = _found(folder, about, spec, problem, studies)
    runs, chosen = storage.confirmations(studies), storage.finalists(studies)
    registered = {} if missing(spec, found, chosen, runs) else serving(folder)
    try:
        target = open_mlflow(uri, about, spec, studies[0], folder)
        written = sync_mlflow(target, records, found, kept_files(folder), registered)
    except MlflowError as error:
        raise BadInput(str(error)) from None
    return (
        f"{written} of {len(records)} trials were missing in MLflow; all are there.\n{target.link}"
    )


def _found(
    folder: Folder,
    about: StudyFacts,
    spec: StudySpec,
    problem: Problem,
    studies: list[optuna.Study],
) -> dict[str, Any]:
    found = answer.summary(
        about,
        problem,
        storage.records(studies),
        wall_s(folder),
        storage.finalists(studies),
        storage.confirmations(studies),
    )
    return with_intervals(found, problem, simulated(spec)) if spec.simulated else found


def _about(
    folder: Folder, study: str, spec: StudySpec, engine: Description
) -> tuple[StudyFacts, Problem]:
    names = [profile.name for profile in spec.profiles]
    problem = problem_of(spec, folder.read_workloads(names), folder.read_redrawn(names))
    return answer.facts(study, spec, problem, engine), problem
