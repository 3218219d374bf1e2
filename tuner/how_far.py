"""Whether a study has ended, from what its storage holds."""

from collections.abc import Sequence
from typing import Any

from results.confirmation import Finalist
from results.record import TrialRecord
from tuner.spec import StudySpec


def missing(
    spec: StudySpec,
    summary: dict[str, Any],
    finalists: Sequence[Finalist] | None,
    confirmations: Sequence[TrialRecord],
) -> str | None:
    """How far an unfinished study is, in words; ``None`` for one that has ended.

    A search that fixed its finalists has ended, be it for want of configs.
    """
    done = summary["trials"]["done"]
    if finalists is None:
        if spec.trials is not None:
            return f"{done} of {spec.trials} trials" if done < spec.trials else None
        waits = spec.pairs and summary["baseline"] is not None
        return f"{done} trials" if waits or not done else None
    runs = [(run.arm, run.objective) for run in confirmations]
    fewest = min((runs.count((f.arm, f.objective)) for f in finalists), default=spec.pairs)
    # A budget may not reach for every finalist.
    if spec.budget_s is None and fewest < spec.pairs:
        return f"{fewest} of {spec.pairs} pairs"
    return None
