"""Which MLflow a study is mirrored to, and what its runs say of it."""

import os
from pathlib import Path

import optuna

from results.mlflow import MlflowStudy, StudyFacts, public
from results.summary import StudyFacts as Facts
from tuner.folder import Folder
from tuner.spec import StudySpec

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


def open_mlflow(uri: str, facts: Facts, spec: StudySpec, study: optuna.Study) -> MlflowStudy:
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
            **{f"set/{name}": value for name, value in spec.settings.items()},
            **{f"range/{name}": text for name, text in spec.ranges.items()},
        },
    )
    return MlflowStudy(uri, about)
