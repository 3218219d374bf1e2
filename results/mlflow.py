"""A study written to MLflow: a run for the study and, under it, one for every answered trial.

A mirror that the tuner never reads.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from results.mlflow_connection import MlflowError, connect, public, secrets_kept, sqlite_path
from results.mlflow_files import keep_files
from results.mlflow_page import address, comparison_page, page_tag
from results.mlflow_registry import model_name, register, winners
from results.mlflow_runs import (
    NO_STANDING,
    RunKey,
    StudyFacts,
    run_name,
    standings,
    study_params,
    study_tags,
    summary_metrics,
    trial_metrics,
    trial_tags,
)
from results.record import TrialRecord
from search_spaces import Value

if TYPE_CHECKING:
    from mlflow.entities import Run

__all__ = ["LOCAL_PAGES", "MlflowError", "MlflowStudy", "StudyFacts", "public"]

LOCAL_PAGES = "http://127.0.0.1:5000"
"""Where ``tune ui`` listens unless told otherwise: a database has no pages of its own."""
_ENDED = ("FINISHED", "FAILED")


class MlflowStudy:
    """A study's experiment and its runs, made where there are none yet.

    Args:
        artifacts: where a new experiment keeps files; ``None`` leaves it to the server or, with
            sqlite, keeps them beside the database.
        tables: where each trial's requests are, as ``<number>.parquet``.

    Raises:
        MlflowError: here and in every method.
    """

    def __init__(
        self,
        tracking_uri: str,
        facts: StudyFacts,
        *,
        artifacts: Path | None = None,
        tables: Path | None = None,
    ) -> None:
        self._uri = tracking_uri
        self._facts = facts
        self._tables = tables
        with secrets_kept(tracking_uri):
            self._client = connect(tracking_uri)
            self._experiment = self._open_experiment(artifacts or _beside(tracking_uri))
            self._parent = self._open_parent()
            self._children = f"tags.`mlflow.parentRunId` = '{self._parent}'"
            self._runs = self._trial_runs()
            self._written = {k for k, run in self._runs.items() if run.info.status in _ENDED}
            self._set_page(())

    @property
    def link(self) -> str:
        """The page comparing the trials."""
        host = public(self._uri) if self._uri.startswith("http") else LOCAL_PAGES
        return f"{host.rstrip('/')}{address(self._experiment, self._parent)}"

    def write(self, record: TrialRecord) -> bool:
        """Write an answered trial unless it is there in full; whether it was written."""
        key = (record.objective, record.number)
        run = self._runs.get(key)
        if not record.answered or key in self._written:
            return False
        with secrets_kept(self._uri):
            if run is None:
                tags = {**trial_tags(record, self._facts), "mlflow.parentRunId": self._parent}
                name = run_name(record, self._facts.objective)
                run = self._client.create_run(self._experiment, tags=tags, run_name=name)
                self._runs[key] = run
            self._complete(run, record)
            self._written.add(key)
        return True

    def finish(
        self,
        summary: Mapping[str, Any],
        files: Sequence[Path],
        records: Sequence[TrialRecord],
        serving: Mapping[str, Path] | None = None,
    ) -> None:
        """Write what is missing, mark the front and the winners, end the study's run.

        Args:
            serving: by quadrant, what a server starts from; registered where given.
        """
        for record in records:
            self.write(record)
        with secrets_kept(self._uri):
            self._set_page(records)
            self._mark(summary)
            self._log(self._client.get_run(self._parent), summary_metrics(summary), {})
            for file in files:
                self._client.log_artifact(self._parent, str(file))
            self._client.set_terminated(self._parent)
            run_ids = {key: run.info.run_id for key, run in self._runs.items()}
            found = winners(summary, serving or {}, run_ids, self._facts)
            register(self._client, model_name(self._facts), list(found))

    def _open_experiment(self, artifacts: Path | None) -> str:
        from mlflow.exceptions import MlflowException

        facts = self._facts
        name = f"{facts.objective}, {facts.model}, {facts.gpus} x {facts.gpu}"
        location = None if artifacts is None else artifacts.resolve().as_uri()
        try:
            return self._client.create_experiment(name, location)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        known = self._client.get_experiment_by_name(name)
        assert known is not None, "MLflow just said that it exists."
        return str(known.experiment_id)

    def _open_parent(self) -> str:
        facts = self._facts
        # Compared here and not in the filter: a study's name may hold quotes.
        studies = self._search("tags.`tuner.kind` = 'study'")
        same = [r for r in studies if r.data.tags.get("tuner.study_id") == facts.study_id]
        if same:
            run = same[0]
        else:
            tags = study_tags(facts)
            run = self._client.create_run(self._experiment, tags=tags, run_name=facts.study)
        self._log(run, {}, study_params(facts))
        return str(run.info.run_id)

    def _search(self, condition: str) -> "Sequence[Run]":
        # 50,000 is the most MLflow gives at once.
        return self._client.search_runs([self._experiment], condition, max_results=50_000)

    def _trial_runs(self) -> dict[RunKey, "Run"]:
        tagged = [(run.data.tags, run) for run in self._search(self._children)]
        return {
            (tags["tuner.objective"], int(tags["tuner.trial"])): run
            for tags, run in tagged
            # People may nest runs of their own under the study's.
            if "tuner.trial" in tags
        }

    def _complete(self, run: "Run", record: TrialRecord) -> None:
        run_id = run.info.run_id
        self._log(run, trial_metrics(record, self._facts.words), record.config)
        keep_files(self._client, run_id, record, self._tables)
        self._client.set_terminated(run_id, "FAILED" if record.failure else "FINISHED")

    def _log(self, run: "Run", metrics: Mapping[str, float], params: Mapping[str, Value]) -> None:
        """One batch of what the run does not say yet: MLflow refuses a param said otherwise."""
        from mlflow.entities import Metric, Param

        now_ms = time.time_ns() // 1_000_000
        said = run.data
        self._client.log_batch(
            run.info.run_id,
            [Metric(k, v, now_ms, 0) for k, v in metrics.items() if said.metrics.get(k) != v],
            [Param(k, public(str(v))) for k, v in params.items() if k not in said.params],
        )

    def _mark(self, summary: Mapping[str, Any]) -> None:
        """Tag front and winners, and clear the tags of those that were before a resume."""
        from mlflow.entities import RunTag

        standing = standings(summary, self._facts.objective)
        for key, run in self._trial_runs().items():
            wanted = standing.get(key, NO_STANDING).items()
            if changed := [RunTag(k, v) for k, v in wanted if run.data.tags.get(k, "") != v]:
                self._client.log_batch(run.info.run_id, tags=changed)

    def _set_page(self, records: Sequence[TrialRecord]) -> None:
        page = comparison_page(self._parent, self._children, records)
        self._client.set_experiment_tag(self._experiment, page_tag(self._parent), page)


def _beside(tracking_uri: str) -> Path | None:
    path = sqlite_path(tracking_uri)
    return None if path is None else path.parent / "mlartifacts"
