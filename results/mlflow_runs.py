"""How a study reads in MLflow: names, metrics and tags of its runs.

Traps: MLflow stores ``inf`` as 1.8e308, which flattens every chart, and refuses names with other
signs than letters, digits, ``_ - . : /`` and spaces. What stands before the last ``/`` of a
metric is the section its chart appears in.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

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
    words: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Of knobs with words for values: each one's number in charts is its place among these."""


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
    numbered = {
        f"numbers/{knob}": ", ".join(f"{i} {word}" for i, word in enumerate((*words, "others")))
        for knob, words in facts.words.items()
    }
    return {**facts.parameters, **{name: getattr(facts, name) for name in names}, **numbered}


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


def trial_metrics(
    record: TrialRecord, words: Mapping[str, Sequence[str]] = MappingProxyType({})
) -> dict[str, float]:
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
    # Charts and filters need numbers; as params, values are words only.
    for knob, value in record.config.items():
        named[f"config/{knob}"] = _place(value, words[knob]) if knob in words else value
    return _numbers(named)


def _place(value: Value, words: Sequence[str]) -> int:
    """What is not among the words comes after them."""
    return words.index(str(value)) if value in words else len(words)


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
