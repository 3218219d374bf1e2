"""What could not be served or was not worth finishing, by cause."""

from collections.abc import Callable, Sequence

from results.record import TrialRecord
from results.report.evidence import Evidence
from results.report.parts import Cell, Section, Table
from results.text.figures import duration
from results.text.layout import DASH

LEAD = "What could not be served, what a rule ruled out before any launch, and what stopped early."
NONE = "Every config that was proposed could be served and was measured whole."
LONGEST = 400
"""Characters of an engine's own words."""
NAMED_TRIALS = 8
Words = Callable[[TrialRecord], str]


def failures(evidence: Evidence) -> Section:
    failed = _trials(evidence, lambda r: r.answered and r.failure is not None)
    ruled_out = _trials(evidence, lambda r: not r.answered)
    stopped = _trials(evidence, lambda r: r.stopped_early and r.failure is None)
    tables = [
        *_table("Configs that could not be served", failed, _kind, _detail),
        *_table("Ruled out before a launch", ruled_out, _detail),
        *_table("Stopped early, by why they could win nothing any more", stopped, _why),
    ]
    return Section(
        anchor="failures", title="Failures and early stops", lead=LEAD, parts=tables or [NONE]
    )


def _trials(evidence: Evidence, which: Callable[[TrialRecord], bool]) -> list[TrialRecord]:
    """The first such record of each trial; in ``all`` a trial has several."""
    found: dict[int, TrialRecord] = {}
    for record in filter(which, evidence.records):
        found.setdefault(record.number, record)
    return list(found.values())


def _table(
    caption: str, records: Sequence[TrialRecord], cause: Words, detail: Words | None = None
) -> list[Table]:
    by_cause: dict[str, list[TrialRecord]] = {}
    for record in records:
        by_cause.setdefault(cause(record), []).append(record)
    ordered = sorted(by_cause.items(), key=lambda item: -len(item[1]))
    told = ["for instance"] if detail else []
    rows = [
        [*_row(name, found), *([Cell(text=_clipped(detail(found[0])))] if detail else [])]
        for name, found in ordered
    ]
    head = ["cause", "configs", "engine time", "trials", *told]
    table = Table(caption=caption, head=head, rows=rows, align="<>><<"[: len(head)])
    return [table] if rows else []


def _row(cause: str, records: Sequence[TrialRecord]) -> list[Cell]:
    numbers = [str(record.number) for record in records]
    more = len(numbers) - NAMED_TRIALS
    shown = ", ".join(numbers[:NAMED_TRIALS]) + (f" and {more} more" if more > 0 else "")
    spent_s = sum(record.engine_s for record in records)
    return [
        Cell(text=_clipped(cause), head=True),
        Cell(text=str(len(records))),
        Cell(text=duration(spent_s) if spent_s else DASH),
        Cell(text=shown),
    ]


def _clipped(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."


def _kind(record: TrialRecord) -> str:
    return (record.failure or {}).get("kind", "")


def _detail(record: TrialRecord) -> str:
    return (record.failure or {}).get("detail", "")


def _why(record: TrialRecord) -> str:
    return record.why_stopped or "no reason kept"
