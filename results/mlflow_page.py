"""The page on which MLflow compares a study's trials: its address, and the state it opens in.

The state is the page's own, undocumented (MLflow 3.17): plain JSON of at most 8,000 characters, in
a tag of the experiment. Where another MLflow does not know it, the address still opens the runs.
"""

import json
from collections.abc import Sequence
from uuid import NAMESPACE_OID, uuid5

from results.mlflow_connection import connect, secrets_kept
from results.mlflow_runs import trial_metrics, varied
from results.record import TrialRecord

_AXES = (
    ("capacity/capacity_per_gpu", "latency/p95_ttft_ms"),
    ("capacity/output_throughput_per_gpu", "latency/p95_e2el_ms"),
    ("throughput/output_throughput_per_gpu", "latency/p95_ttft_ms"),
)
"""What the scatter plots show: the values optimisers are told, the last without capacity."""
_DERIVED = ("data_parallel_size",)
"""Follows from another knob, and would only cross its lines."""
_CARD_HEIGHT = 400
ALL = "/#/experiments?workflowType=machine_learning"
"""The address of every experiment there is."""


def page_tag(key: str) -> str:
    """Of the experiment, where the state is kept."""
    return f"mlflow.sharedViewState.{key}"


def address(experiment: str, key: str) -> str:
    """What follows the server's own address; without ``workflowType`` MLflow 3 opens on traces.

    A filter in the address would make MLflow ignore the shared state, charts and all.
    """
    return (
        f"/#/experiments/{experiment}/runs?viewStateShareKey={key}"
        "&compareRunsMode=CHART&workflowType=machine_learning"
    )


def find(tracking_uri: str, study_id: str) -> str | None:
    """The address of a study's page; ``None`` where MLflow has nothing of it.

    Raises:
        MlflowError: MLflow could not be reached or read.
    """
    with secrets_kept(tracking_uri):
        client = connect(tracking_uri)
        experiments = [e.experiment_id for e in client.search_experiments()]
        condition = f"tags.`tuner.kind` = 'study' and tags.`tuner.study_id` = '{study_id}'"
        runs = client.search_runs(experiments, condition, max_results=1)
        return address(runs[0].info.experiment_id, runs[0].info.run_id) if runs else None


def comparison_page(key: str, search_filter: str, records: Sequence[TrialRecord]) -> str:
    """What the tag ``page_tag(key)`` holds, for the page to open on our charts."""
    parallel, scatter = (uuid5(NAMESPACE_OID, f"{key} {name}").hex for name in ("first", "second"))
    measured = {metric for record in records for metric in trial_metrics(record)}
    axes = [pair for pair in _AXES if not records or measured.issuperset(pair)]
    state = {
        "searchFilter": search_filter,
        "orderByKey": "metrics.`latency/p95_ttft_ms`",
        "orderByAsc": True,
        "compareRunsMode": "CHART",
        "runsHiddenMode": "SHOWALL",
        # Otherwise our sections come below the generated ones.
        "isAccordionReordered": True,
        "compareRunSections": [
            _section(parallel, "From settings to outcome", columns=1),
            _section(scatter, "What the search was after", columns=max(1, len(axes))),
        ],
        "compareRunCharts": [
            _parallel(parallel, records, axes),
            *(_scatter(scatter, *pair) for pair in axes),
        ],
    }
    return json.dumps(state)


def _section(section: str, name: str, *, columns: int) -> dict[str, object]:
    return {
        "uuid": section,
        "name": name,
        "display": True,
        "isReordered": True,
        "columns": columns,
        "cardHeight": _CARD_HEIGHT,
    }


def _parallel(
    section: str, records: Sequence[TrialRecord], axes: Sequence[tuple[str, str]]
) -> dict[str, object]:
    """Every knob that varied, then what came of it; lines are coloured by the last."""
    outcome = [*(x for x, _ in axes[:2]), *(y for _, y in axes[:1])]
    return _chart(
        section,
        "PARALLEL",
        "settings to outcome",
        # By their own names: the page keeps twelve letters of a name.
        selectedParams=[knob for knob in varied(records) if knob not in _DERIVED],
        selectedMetrics=outcome,
        showAllRuns=True,
    )


def _scatter(section: str, x: str, y: str) -> dict[str, object]:
    axes = {
        "xaxis": {"key": x, "type": "METRIC"},
        "yaxis": {"key": y, "type": "METRIC"},
    }
    return _chart(section, "SCATTER", f"{x} against {y}", **axes)


def _chart(section: str, kind: str, name: str, **fields: object) -> dict[str, object]:
    return {
        "uuid": uuid5(NAMESPACE_OID, f"{section} {name}").hex,
        "type": kind,
        "displayName": name,
        "metricSectionId": section,
        "runsCountToCompare": 100,
        "deleted": False,
        "isGenerated": False,
        **fields,
    }
