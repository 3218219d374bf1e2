"""Which MLflow a study is mirrored to, and what its runs say of it."""

import os
from pathlib import Path

import optuna

from results.mlflow import MlflowStudy, StudyFacts, public
from results.summary import StudyFacts as Facts
from search_spaces import Choice
from tuner.folder import Folder
from tuner.spec import StudySpec, plain_space

IDENTITY = "paretune.id"
MLFLOW = "paretune.mlflow"
STUDIES = "studies"


def tracking_uri(asked: str | None, folder: Folder, study: optuna.Study) -> str | None:
    """Where to mirror to; ``None``: nowhere.

    What was asked for now, else at the study's beginning, else ``MLFLOW_TRACKING_URI``, else a
    database beside the study's folder, or inside one that lies elsewhere than under ``studies/``.
    """
    uri = asked or study.user_attrs.get(MLFLOW) or os.environ.get("MLFLOW_TRACKING_URI")
    if uri == "off":
        return None
    return uri or f"sqlite:///{local_database(folder)}"


def remember(asked: str | None, study: optuna.Study) -> None:
    """Keep what was asked for with the study, unless there is a secret in it."""
    if asked is not None and public(asked) == asked:
        study.set_user_attr(MLFLOW, asked)


def local_database(folder: Folder) -> Path:
    """Where a study is mirrored to when nobody says where."""
    path = folder.path.resolve()
    return (path.parent if path.parent.name == STUDIES else path) / "mlflow.db"


def open_mlflow(
    uri: str, facts: Facts, spec: StudySpec, study: optuna.Study, folder: Folder
) -> MlflowStudy:
    """The study's runs in MLflow, made where there are none yet."""
    about = StudyFacts(
        study=facts.study,
        study_id=study.user_attrs[IDENTITY],
        objective=facts.objective,
        engine=facts.engine,
        engine_version=facts.engine_version,
        simulated=facts.simulated,
        model=facts.model,
        gpu=spec.target.hardware,
        gpus=spec.target.gpus,
        seed=facts.seed,
        parameters={
            "max_model_len": spec.max_model_len,
            "requests": spec.requests,
            **({"trials": spec.trials} if spec.trials else {}),
            **_wanted(facts),
            **{f"set/{name}": value for name, value in spec.settings.items()},
            **{f"range/{name}": text for name, text in spec.ranges.items()},
        },
        words=_words(spec),
    )
    return MlflowStudy(uri, about, tables=folder.requests)


def _wanted(facts: Facts) -> dict[str, str]:
    """Traffic and promise of each objective, to find and tell studies by."""
    return {
        f"{what}/{name}": text
        for name, workload in facts.workloads.items()
        for what, text in (("traffic", workload["source"]), ("sla", ",".join(workload["sla"])))
    }


def _words(spec: StudySpec) -> dict[str, tuple[str, ...]]:
    """Of knobs whose values are words, all there are, however the study narrows them."""
    knobs = plain_space(spec.target, spec.max_model_len).knobs
    values = {k.name: k.domain.values for k in knobs if isinstance(k.domain, Choice)}
    words = {name: tuple(v for v in found if isinstance(v, str)) for name, found in values.items()}
    return {name: found for name, found in words.items() if found}


def kept_files(folder: Folder) -> list[Path]:
    """What the study's run keeps as files, as far as there are any."""
    answers = [folder.summary, folder.path / "report.html"]
    return [path for path in (*answers, *serving(folder).values()) if path.exists()]


def serving(folder: Folder) -> dict[str, Path]:
    """What a server starts from, by quadrant."""
    return {path.stem: path for path in sorted(folder.best.glob("*.yaml"))}
