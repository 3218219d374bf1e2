"""What came nearest where no config keeps a promise, and the bound that stands in the way."""

from collections.abc import Sequence

from objectives import Quadrant, Verdict
from results.quadrants import Selection
from results.record import TrialRecord


def nearest(
    records: Sequence[TrialRecord], quadrant: Quadrant, selection: Selection
) -> tuple[TrialRecord, str] | None:
    """(record, bound it misses by most) of the config that misses the quadrant's SLA by least.

    ``None`` when nothing was measured or a config that could win keeps the SLA: then it is not the
    SLA that leaves the quadrant without a winner. Configs for our scheduler class count only where
    there are no others, and so do trials that were stopped: their figures are of part of a run.
    """
    served = [r for r in records if r.answered and r.failure is None]
    measured = [r for r in served if r.complete] or served
    stock = [r for r in measured if not selection.space.needs_ours(r.config)]
    pool = measured if selection.allow_ours else stock or measured
    missed = [(r, found) for r in pool if (found := _missed(r, quadrant))]
    if not missed or len(missed) < len(pool):
        return None
    record, excesses = min(missed, key=lambda pair: (max(pair[1].values()), pair[0].number))
    return record, max(excesses, key=lambda name: excesses[name])


def _missed(record: TrialRecord, quadrant: Quadrant) -> dict[str, float]:
    """Excess of each bound that is not met."""
    judgements = record.quadrants[quadrant].items()
    return {name: j.excess for name, j in judgements if j.verdict is not Verdict.MET}
