"""How a study reads in MLflow: names, metrics and tags of its runs, and the page comparing them.

Traps: MLflow stores ``inf`` as 1.8e308, which flattens every chart, and refuses names with other
signs than letters, digits, ``_ - . : /`` and spaces. What stands before the last ``/`` of a
metric is the section its chart appears in.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import NAMESPACE_OID, uuid5

from objectives import Verdict
from results.record import TrialRecord
from search_spaces import Value

RunKey = tuple[str, int]
"""Objective and number: what tells the trials of a study apart."""
NO_STANDING: Mapping[str, str] = {"tuner.front": "false", "tuner.quadrant": ""}
_SECTIONS = (
    ("latency", re.compile(r".+_(ttft|tpot|itl|e2el)_ms")),
    ("throughput", re.compile(r".*(throughput|goodput).*|makespan_s")),
    ("capacity", re.compile(r"capacity.*|headroom|gpus_needed")),
    ("cost", re.compile(r"cost_.*")),
    ("requests", re.compile(r"completed|failed|duration_s")),
    ("engine", re.compile(r".*")),
)
_SHORT = {
    "tensor_parallel_size": "tp",
    "max_num_seqs": "seqs",
    "max_num_batched_tokens": "tokens",
}
_DETAIL_CHARACTERS = 5000
_AXES = (
    ("capacity/capacity_per_gpu", "latency/p95_ttft_ms"),
    ("capacity/output_throughput_per_gpu", "latency/p95_e2el_ms"),
    ("throughput/output_throughput_per_gpu", "latency/p95_ttft_ms"),
)
"""What the scatter plots show: the values optimisers are told, the last without capacity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyFacts:
    """What all runs of a study have in common."""

    study: str
    study_id: str
    """Tells the study from another of the same name."""
    objective: str
    engine: str
    engine_version: str
    simulated: bool
    model: str
    gpu: str
    gpus: int
    seed: int
    parameters: Mapping[str, Value]
    """Whatever else was asked for."""


def run_name(record: TrialRecord, objective: str) -> str:
    """``t017 tp2 seqs256 tokens8192 met``; names the objective where it is not the study's."""
    parts = [f"t{record.number:03d}"]
    if record.objective != objective:
        parts.append(record.objective)
    parts += [f"{short}{record.config[k]}" for k, short in _SHORT.items() if k in record.config]
    return " ".join([*parts, _verdict(record)])


def _verdict(record: TrialRecord) -> str:
    if record.failure is not None:
        return record.failure["kind"]
    verdicts = {judgement.verdict for judgement in record.sla.values()}
    worst = (Verdict.BROKEN, Verdict.UNDECIDED)
    return next((verdict for verdict in worst if verdict in verdicts), Verdict.MET)


def _word(yes: bool) -> str:
    return "true" if yes else "false"


def study_tags(facts: StudyFacts) -> dict[str, str]:
    return {
        "tuner.kind": "study",
        "tuner.study": facts.study,
        "tuner.study_id": facts.study_id,
        "tuner.objective": facts.objective,
        "tuner.simulated": _word(facts.simulated),
        "gpu.name": facts.gpu,
        "engine.version": facts.engine_version,
    }


def study_params(facts: StudyFacts) -> dict[str, Value]:
    names = ("engine", "engine_version", "model", "gpu", "gpus", "seed")
    return {**facts.parameters, **{name: getattr(facts, name) for name in names}}


def trial_tags(record: TrialRecord, facts: StudyFacts) -> dict[str, str]:
    default = record.origin == "default"
    tags = study_tags(facts) | {
        "tuner.kind": "baseline" if default else "trial",
        "tuner.trial": str(record.number),
        "tuner.objective": record.objective,
        "tuner.origin": record.origin,
        "tuner.baseline": _word(default),
        "tuner.feasible": _word(record.complete and record.meets_sla),
        "tuner.front": "false",
        "tuner.stopped_early": _word(record.stopped_early),
    }
    if record.failure is not None:
        tags["tuner.failure"] = record.failure["kind"]
        tags["tuner.failure_detail"] = record.failure["detail"][:_DETAIL_CHARACTERS]
    return tags


def trial_metrics(record: TrialRecord) -> dict[str, float]:
    """Finite numbers by section; those under the capacity load are in ``capacity/``.

    Of a trial that was stopped its config and its cost alone: its figures are of part of a run.
    """
    named: dict[str, Any] = {"cost/engine_s": record.engine_s}
    stopped = record.stopped_early
    for load, measured in ({} if stopped else record.loads).items():
        for metric, value in measured.items():
            section = "capacity" if load == "capacity" else _section(metric)
            named[f"{section}/{metric}"] = value
    for bound, judgement in ({} if stopped else record.sla).items():
        metric = re.split("[<>]=", bound)[0]
        if judgement.share is not None:
            named[f"sla/{metric}_share"] = judgement.share
        # Of a metric bounded from both sides, the side it is nearer to breaking.
        excess = f"sla/{metric}_excess"
        named[excess] = max(judgement.excess, named.get(excess, judgement.excess))
    # Parallel coordinates draw numbers; switches are params as words only.
    named |= {f"config/{knob}": value for knob, value in record.config.items()}
    return _numbers(named)


def _section(metric: str) -> str:
    return next(section for section, pattern in _SECTIONS if pattern.fullmatch(metric))


def _numbers(named: Mapping[str, Any]) -> dict[str, float]:
    return {
        re.sub(r"[^A-Za-z0-9_\-.:/ ]", "_", name): float(value)
        for name, value in named.items()
        if isinstance(value, (int, float)) and math.isfinite(value)
    }


def summary_metrics(summary: Mapping[str, Any]) -> dict[str, float]:
    """The study's own numbers: trials, cost, and each winner's goal and gain."""
    named = {
        f"{part}/{name}": value
        for part in ("trials", "cost")
        for name, value in summary.get(part, {}).items()
    }
    for quadrant, best in summary.get("best", {}).items():
        if best is not None:
            goal, gain = best.get("goal"), best.get("gain")
            if goal is not None:
                named[f"best/{quadrant} {goal['metric']}"] = goal["value"]
            if gain is not None:
                named[f"best/{quadrant} gain"] = gain["ratio"]
    return _numbers(named)


def standings(summary: Mapping[str, Any], objective: str) -> dict[RunKey, dict[str, str]]:
    """Tags of the trials on the front and of the winners; of a winner of several, all of them."""
    tags: dict[RunKey, dict[str, str]] = {}
    for entry in summary.get("front", ()):
        tags.setdefault(_key(entry, objective), dict(NO_STANDING))["tuner.front"] = "true"
    for quadrant, entry in summary.get("best", {}).items():
        if entry is not None:
            own = tags.setdefault(_key(entry, objective), dict(NO_STANDING))
            own["tuner.quadrant"] = ",".join(filter(None, [own["tuner.quadrant"], str(quadrant)]))
    return tags


def _key(entry: Mapping[str, Any], objective: str) -> RunKey:
    return entry.get("objective", objective), entry["trial"]


def varied(records: Sequence[TrialRecord]) -> list[str]:
    """The knobs that were not the same in every trial."""
    knobs = dict.fromkeys(knob for record in records for knob in record.config)
    return [knob for knob in knobs if len({repr(r.config.get(knob)) for r in records}) > 1]


def comparison_page(key: str, search_filter: str, records: Sequence[TrialRecord]) -> str:
    """What an experiment's tag ``mlflow.sharedViewState.<key>`` holds to open on our charts.

    The page's own state, undocumented (MLflow 3.17): plain JSON of at most 8,000 characters.
    """
    section = uuid5(NAMESPACE_OID, key).hex
    knobs = varied(records)
    words = [k for k in knobs if any(isinstance(r.config.get(k), str) for r in records)]
    metrics = [f"config/{knob}" for knob in knobs if knob not in words]
    measured = {metric for record in records for metric in trial_metrics(record)}
    axes = [pair for pair in _AXES if not records or measured.issuperset(pair)]
    charts = [
        _chart(
            section,
            "PARALLEL",
            "settings to outcome",
            selectedParams=words,
            selectedMetrics=[*metrics, *dict.fromkeys(axis for pair in axes for axis in pair)],
            showAllRuns=True,
        ),
        *(_scatter(section, *pair) for pair in axes),
    ]
    state = {
        "searchFilter": search_filter,
        "orderByKey": "metrics.`latency/p95_ttft_ms`",
        "orderByAsc": True,
        "compareRunsMode": "CHART",
        "runsHiddenMode": "SHOWALL",
        # Otherwise our section comes below the generated ones.
        "isAccordionReordered": True,
        "compareRunSections": [
            {"uuid": section, "name": "Tuning", "display": True, "isReordered": True}
        ],
        "compareRunCharts": charts,
    }
    return json.dumps(state)


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
