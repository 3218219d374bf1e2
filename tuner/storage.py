"""Optuna's storage, the one truth: the study, its spec, and every trial with its records.

A record is attached to its trial as one JSON attribute before the trial is told, so a trial that
was measured is never lost. In `all`, one Optuna study per objective: each launched config is asked
for in one of them and added to the others under the same number.
"""

import json
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from uuid import uuid4

import optuna
from optuna.exceptions import DuplicatedStudyError, ExperimentalWarning
from optuna.storages import BaseStorage, RDBStorage
from optuna.trial import FrozenTrial, TrialState
from pydantic import TypeAdapter
from sqlalchemy.engine import make_url

from results.confirmation import Finalist
from results.mlflow import public
from results.record import TrialRecord
from runners import Description
from tuner.errors import BadInput
from tuner.folder import Folder, write_whole
from tuner.mlflow_study import IDENTITY
from tuner.problem import Problem
from tuner.spec import StudySpec, from_json, to_json
from tuner.trouble import place

SPEC = "paretune.spec"
RECORDS = "paretune.records"
ENGINE = "paretune.engine"
FINALISTS = "paretune.finalists"
CONFIRMED = "paretune.confirmed"
ORIGIN = "paretune.origin"
FINALIST_LIST = TypeAdapter(list[Finalist])
optuna.logging.set_verbosity(optuna.logging.ERROR)
# Multivariate TPE, constraints and metric names: marked experimental, used on purpose.
warnings.filterwarnings("ignore", category=ExperimentalWarning)


def create(
    folder: Folder, spec: StudySpec, study: str, problem: Problem, storage: str | None
) -> list[optuna.Study]:
    """New Optuna studies, one per case, the first carrying the spec.

    A folder's own database appears there only when all of it is made.
    """
    if storage is not None:
        made = studies_in(_opened(storage), spec, study, problem)
        kept = {"study": study, "url": storage if public(storage) == storage else None}
        write_whole(folder.elsewhere, json.dumps(kept).encode())
        return made
    partial = folder.database.with_name(".study.db.partial")
    # A journal left by a process that was killed would be played into the new database.
    for old in folder.path.glob(".study.db.partial*"):
        old.unlink()
    backend = _opened(_sqlite(partial), checked=True)
    names = [made.study_name for made in studies_in(backend, spec, study, problem)]
    backend.engine.dispose()
    partial.replace(folder.database)
    backend = _opened(_sqlite(folder.database), made=True, checked=True)
    return [optuna.load_study(study_name=name, storage=backend) for name in names]


def studies_in(
    backend: BaseStorage, spec: StudySpec, study: str, problem: Problem
) -> list[optuna.Study]:
    """New Optuna studies in any storage, named ``<study>/<objective>``."""
    studies = []
    for case in problem.cases:
        values = case.profile.values(capacity=problem.capacity)
        name = f"{study}/{case.profile.name}"
        try:
            made = optuna.create_study(
                storage=backend, study_name=name, directions=[goal.direction for goal in values]
            )
        except DuplicatedStudyError:
            raise BadInput(
                f"The database already holds a study {study!r}; choose another --study."
            ) from None
        made.set_metric_names([goal.metric for goal in values])
        studies.append(made)
    studies[0].set_user_attr(IDENTITY, uuid4().hex)
    studies[0].set_user_attr(SPEC, to_json(spec))
    return studies


def address(folder: Folder, asked: str | None) -> str | None:
    """Where a study's database is: as asked for, as kept, or ``None`` for ``study.db``.

    Raises:
        BadInput: there is none, or it is elsewhere and its address was not kept for its secret.
    """
    if asked is not None or folder.database.is_file():
        return asked
    if not folder.elsewhere.exists():
        raise BadInput(f"{folder.path} holds no study (no study.db).")
    if (url := _elsewhere(folder).get("url")) is None:
        raise BadInput(f"The database of {folder.path} is elsewhere; name it with --storage URL.")
    return url


def _elsewhere(folder: Folder) -> dict[str, str | None]:
    try:
        kept = json.loads(folder.elsewhere.read_text("utf-8"))
        return {"study": str(kept["study"]), "url": kept["url"] and str(kept["url"])}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{folder.elsewhere} is damaged: {error!r}.") from error


def load(folder: Folder, storage: str | None) -> tuple[str, StudySpec, list[optuna.Study]]:
    """(name, spec, Optuna studies) of the study in a folder.

    Raises:
        BadInput: there is none, or the database is damaged.
    """
    if storage is None and not folder.database.is_file():
        raise BadInput(f"{folder.path} holds no study (no study.db).")
    backend = _opened(storage or _sqlite(folder.database), made=True)
    with _whole(place(folder, storage)):
        names = optuna.get_all_study_names(backend)
        study = _study_name(folder, names, storage)
        kept = [name for name in names if name.rpartition("/")[0] == study]
        found = [optuna.load_study(study_name=name, storage=backend) for name in kept]
        text = next((s.user_attrs[SPEC] for s in found if SPEC in s.user_attrs), None)
        if text is None:
            raise BadInput(f"{folder.path} holds a study that was never begun; delete the folder.")
        spec = from_json(text)
        by_name = {s.study_name.rpartition("/")[2]: s for s in found}
        studies = [by_name[profile.name] for profile in spec.profiles]
        # Read here once, all that may be damaged is known before anything is done.
        records(studies)
    return study, spec, studies


@contextmanager
def _whole(database: str) -> Iterator[None]:
    """Turns what Optuna makes of content that was tampered with into one line.

    Raises:
        BadInput: the database can be read, but not what it says.
    """
    try:
        yield
    except (ValueError, LookupError, TypeError, AttributeError, AssertionError) as error:
        raise BadInput(f"The study's database {database} is damaged: {error!r:.200}.") from error


def _opened(url: str, *, made: bool = False, checked: bool = False) -> RDBStorage:
    """The database behind an address; its tables are ``made`` already or made here.

    ``checked``: known to be of this Optuna, which takes a tenth of a second to find out.

    Raises:
        BadInput: there is no such kind of database, or its driver is not installed.
    """
    try:
        make_url(url)
    except ValueError:
        # Quoting what is wrong might quote a password.
        reason = "its port is no number"
    else:
        try:
            # Asks before use: a server may have been restarted between two trials.
            kept = {"pool_pre_ping": True}
            with _whole(public(url)):
                return RDBStorage(
                    url,
                    engine_kwargs=kept,
                    skip_table_creation=made,
                    skip_compatibility_check=checked,
                )
        except (ImportError, RuntimeError) as error:
            reason = public(str(error.__cause__ or error).splitlines()[0])
    raise BadInput(f"The study's database {public(url)} cannot be used: {reason}.")


def _sqlite(path: Path) -> str:
    if "?" in str(path):
        raise BadInput(f"A folder for a study may have no `?` in its name, but got {path.parent}.")
    return f"sqlite:///{path.resolve()}"


def _study_name(folder: Folder, names: list[str], storage: str | None) -> str:
    """The only study of a folder's own database, or the one kept as the folder's."""
    studies = sorted({name.rpartition("/")[0] for name in names})
    kept = _elsewhere(folder).get("study") if storage else None
    if kept in studies:
        return kept
    if len(studies) == 1 and kept is None:
        return studies[0]
    there = f"there are: {', '.join(studies)}" if studies else "there is none"
    raise BadInput(f"No study of {folder.path} in {place(folder, storage)}; {there}.")


def describe(studies: Sequence[optuna.Study], engine: Description) -> None:
    """Keep what the engine said of itself: a study is shown where no engine is at hand."""
    studies[0].set_user_attr(ENGINE, json.dumps(asdict(engine)))


def description(studies: Sequence[optuna.Study]) -> Description:
    """What ``describe`` kept.

    Raises:
        BadInput: nothing that can be read.
    """
    try:
        return Description(**json.loads(studies[0].user_attrs[ENGINE]))
    except (KeyError, TypeError, ValueError):
        raise BadInput(
            "The study does not say which engine it is of; go on with it first."
        ) from None


def keep_finalists(studies: Sequence[optuna.Study], chosen: Sequence[Finalist]) -> None:
    """Fix what is confirmed, before it is."""
    studies[0].set_user_attr(FINALISTS, FINALIST_LIST.dump_json(list(chosen)).decode())


def finalists(studies: Sequence[optuna.Study]) -> list[Finalist] | None:
    """What ``keep_finalists`` kept; ``None`` before that."""
    kept = studies[0].user_attrs.get(FINALISTS)
    return None if kept is None else FINALIST_LIST.validate_json(kept)


def keep_confirmations(studies: Sequence[optuna.Study], records: Sequence[TrialRecord]) -> None:
    """Keep what one turn of the confirmation measured, in an attribute of its own."""
    first = records[0]
    name = f"{CONFIRMED}/{first.pair}/{first.arm}"
    studies[0].set_user_attr(name, json.dumps([record.to_json() for record in records]))


def confirmations(studies: Sequence[optuna.Study]) -> list[TrialRecord]:
    """What ``keep_confirmations`` kept, in the order of the launches."""
    kept = [v for name, v in studies[0].user_attrs.items() if name.startswith(f"{CONFIRMED}/")]
    found = [TrialRecord.from_json(line) for lines in kept for line in json.loads(lines)]
    return sorted(found, key=lambda record: record.launch_id or 0)


def begun(studies: Sequence[optuna.Study]) -> datetime | None:
    """When the first trial was."""
    trials = [trial for study in studies for trial in study.get_trials(deepcopy=False)[:1]]
    # Optuna gives local times without a zone.
    return min((t.datetime_start.astimezone() for t in trials if t.datetime_start), default=None)


def attach(trial: optuna.Trial, records: Sequence[TrialRecord]) -> None:
    """Keep the records with the trial, before it is told."""
    trial.set_user_attr(RECORDS, json.dumps([record.to_json() for record in records]))


def attached(trial: FrozenTrial) -> list[TrialRecord]:
    """The records kept with a trial; none if it was not measured here."""
    lines = json.loads(trial.user_attrs.get(RECORDS, "[]"))
    return [TrialRecord.from_json(line) for line in lines]


def records(studies: Sequence[optuna.Study]) -> list[TrialRecord]:
    """Every told trial's records, in order of number, from whichever study asked."""
    found = []
    for trials in zip(*(s.get_trials(deepcopy=False) for s in studies), strict=False):
        for trial in trials:
            if trial.state is TrialState.COMPLETE:
                found += attached(trial)
    return found
