"""``report.html`` of a study: what it shows is gathered here, and written as one file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import optuna

from results.record import TrialRecord
from results.report import Asked, Evidence, Latencies, render
from results.text.standing import won
from tuner.folder import Folder
from tuner.importance import importance
from tuner.latencies import latencies
from tuner.problem import Problem
from tuner.spec import StudySpec

NAME = "report.html"
PROGRAMS = ("paretune", "optuna")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A study read back, with its answer."""

    folder: Folder
    spec: StudySpec
    problem: Problem
    summary: Mapping[str, Any]
    records: Sequence[TrialRecord]
    confirmations: Sequence[TrialRecord]
    studies: Sequence[optuna.Study]


def text(found: Finding) -> str:
    """The page as it is written to ``report.html``."""
    return render(evidence(found))


def evidence(found: Finding) -> Evidence:
    spec, problem = found.spec, found.problem
    return Evidence(
        summary=found.summary,
        records=found.records,
        confirmations=found.confirmations,
        values={
            case.profile.name: case.profile.values(capacity=problem.capacity)
            for case in problem.cases
        },
        knobs=list(problem.space.searched),
        asked=Asked(
            trials=spec.trials,
            budget_s=spec.budget_s,
            pairs=spec.pairs,
            max_model_len=spec.max_model_len,
            hourly_cost_usd=spec.hourly_cost_usd,
            sized_to_default=bool(spec.sized_to_default),
        ),
        folder=str(found.folder.path),
        exports=spec.target.engine != "openai",
        importance=importance(found.studies, problem, found.records),
        latencies=_latencies(found),
        versions={name: v for name in PROGRAMS if (v := _version(name))},
    )


def _latencies(found: Finding) -> dict[tuple[str, int], Latencies]:
    """Of default and winners alone: a long study has more requests than can be shown."""
    first = found.problem.cases[0].profile.name
    shown = {(r.objective, r.number) for r in found.records if r.origin == "default"}
    shown |= {(b.get("objective", first), b["trial"]) for b in won(found.summary).values()}
    requests = found.folder.path / "requests"
    return {
        (objective, number): read
        for objective, number in sorted(shown)
        if (read := latencies(requests / f"{number}.parquet", objective, "offered"))
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
