"""Optuna's storage, the one truth: the study, its spec, and every trial with its records.

A record is attached to its trial as one JSON attribute before the trial is told, so a trial that
was measured is never lost. In `all`, one Optuna study per objective: each launched config is asked
for in one of them and added to the others under the same number.
"""

import json
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from uuid import uuid4

import optuna
from optuna.exceptions import DuplicatedStudyError, ExperimentalWarning, StorageInternalError
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from results.record import TrialRecord
from tuner.errors import BadInput
from tuner.folder import Folder
from tuner.mlflow_study import IDENTITY
from tuner.problem import Problem
from tuner.spec import StudySpec, from_json, to_json

SPEC = "paretune.spec"
RECORDS = "paretune.records"
ORIGIN = "paretune.origin"
optuna.logging.set_verbosity(optuna.logging.ERROR)
# Multivariate TPE, constraints and metric names: marked experimental, used on purpose.
warnings.filterwarnings("ignore", category=ExperimentalWarning)


@contextmanager
def _explained(url: str) -> Iterator[None]:
    """Database trouble as one sentence, without the password in the URL."""
    place = url.rpartition("@")[2] if "://" in url and "@" in url else url
    try:
        yield
    except (StorageInternalError, SQLAlchemyError, ArgumentError, ImportError) as error:
        cause = error.__cause__ or error
        reason = str(getattr(cause, "orig", cause)).splitlines()[0].replace(url, place)
        raise BadInput(
            f"The study's database {place} cannot be used: {reason}. If it is damaged, "
            "trials.jsonl beside it still holds every answered trial."
        ) from error


def url_of(folder: Folder, storage: str | None) -> str:
    return storage or f"sqlite:///{folder.database.resolve()}"


def create(
    folder: Folder, spec: StudySpec, study: str, problem: Problem, storage: str | None
) -> list[optuna.Study]:
    """New Optuna studies, one per case, the first carrying the spec."""
    url = url_of(folder, storage)
    with _explained(url):
        backend = optuna.storages.RDBStorage(url)
        studies = []
        for case in problem.cases:
            directions = [g.direction for g in case.profile.values(capacity=problem.capacity)]
            name = f"{study}/{case.profile.name}"
            try:
                made = optuna.create_study(
                    storage=backend, study_name=name, directions=list(directions)
                )
            except DuplicatedStudyError:
                raise BadInput(
                    f"The database already holds a study {study!r}; choose another --study."
                ) from None
            values = case.profile.values(capacity=problem.capacity)
            made.set_metric_names([goal.metric for goal in values])
            studies.append(made)
        studies[0].set_user_attr(IDENTITY, uuid4().hex)
        studies[0].set_user_attr(SPEC, to_json(spec))
        return studies


def load(folder: Folder, storage: str | None) -> tuple[str, StudySpec, list[optuna.Study]]:
    """(name, spec, Optuna studies) of the study in a folder.

    Raises:
        BadInput: there is none, or the database is damaged.
    """
    if storage is None and not folder.database.is_file():
        raise BadInput(f"{folder.path} holds no study (no study.db).")
    url = url_of(folder, storage)
    with _explained(url):
        backend = optuna.storages.RDBStorage(url)
        names = optuna.get_all_study_names(backend)
        study = _study_name(folder, names, storage)
        kept = [name for name in names if name.rpartition("/")[0] == study]
        found = [optuna.load_study(study_name=name, storage=backend) for name in kept]
        text = next((s.user_attrs[SPEC] for s in found if SPEC in s.user_attrs), None)
    if text is None:
        raise BadInput(f"{folder.path} holds a study that was never begun; delete the folder.")
    spec = from_json(text)
    by_name = {s.study_name.rpartition("/")[2]: s for s in found}
    if any(profile.name not in by_name for profile in spec.profiles):
        raise BadInput(f"{folder.path} holds a study that was never begun; delete the folder.")
    return study, spec, [by_name[profile.name] for profile in spec.profiles]


def _study_name(folder: Folder, names: list[str], storage: str | None) -> str:
    """The only study of a folder's own database, or the one named like the folder."""
    studies = sorted({name.rpartition("/")[0] for name in names})
    if folder.path.resolve().name in studies:
        return folder.path.resolve().name
    if len(studies) == 1 and storage is None:
        return studies[0]
    raise BadInput(f"No study of {folder.path} in its database; there are: {', '.join(studies)}.")


def attach(trial: optuna.Trial, records: Sequence[TrialRecord]) -> None:
    """Keep the records with the trial, before it is told."""
    trial.set_user_attr(RECORDS, json.dumps([record.to_json() for record in records]))


def attached(trial: FrozenTrial) -> list[TrialRecord]:
    """The records kept with a trial; none if it was not measured here."""
    return [
        TrialRecord.from_json(line) for line in json.loads(trial.user_attrs.get(RECORDS, "[]"))
    ]


def records(studies: Sequence[optuna.Study]) -> list[TrialRecord]:
    """Every told trial's records, in order of number, from whichever study asked."""
    found = []
    for trials in zip(*(s.get_trials(deepcopy=False) for s in studies), strict=False):
        for trial in trials:
            if trial.state is TrialState.COMPLETE:
                found += attached(trial)
    return found
