"""What kept each winner from doing more."""

from collections.abc import Mapping, Sequence
from typing import Any

from objectives import Quadrant
from results.report.evidence import Evidence
from results.report.parts import Cell, Section, Table
from results.text.figures import label, number, percent, quantity
from results.text.layout import DASH, joined
from results.text.margins import split
from results.text.standing import won

LEAD = (
    "The bound that broke first as the load rose, and how full the engine was. A running batch "
    "near max_num_seqs, a full KV cache or preemptions say that the engine ran out of room; a "
    "high MFU or MBU that the GPU did."
)
NONE_WON = "No quadrant has a winner whose limits could be told."
FULL = 0.95
HEAD = (
    *("winner", "broke first above its capacity", "running batch at capacity", "all at once"),
    *("compute (MFU)", "bandwidth (MBU)", "KV cache", "preemptions"),
)
CAPTION = "Batches are of each replica; MFU, MBU, KV cache and preemptions at the offered load"


def limited(evidence: Evidence) -> Section:
    rows = [_row(evidence, quadrant, best) for quadrant, best in won(evidence.summary).items()]
    parts = [_table(rows)] if rows else [NONE_WON]
    return Section(anchor="limits", title="What limited each winner", lead=LEAD, parts=parts)


def _table(rows: list[list[Cell]]) -> Table:
    """Without the columns of which nothing is known."""
    known = [i for i in range(len(HEAD)) if any(row[i].text != DASH for row in rows)]
    return Table(
        caption=CAPTION,
        head=[HEAD[i] for i in known],
        rows=[[row[i] for i in known] for row in rows],
        align="".join("<<>>>>>>"[i] for i in known),
    )


def _row(evidence: Evidence, quadrant: Quadrant, best: Mapping[str, Any]) -> list[Cell]:
    offered, capacity = best["loads"].get("offered", {}), best["loads"].get("capacity", {})
    slots = best["config"].get("max_num_seqs")
    preemptions = offered.get("preemptions")
    bounds = evidence.bounds(best.get("objective", evidence.objectives[0]))
    return [
        Cell(text=f"{quadrant.numeral} {quadrant}, trial {best['trial']}", head=True),
        Cell(text=first_broken(capacity, bounds, closed=bool(offered.get("concurrency")))),
        _of_slots((_at(capacity) or {}).get("mean_running"), slots),
        _of_slots(capacity.get("mean_running"), slots),
        *(_share(offered.get(name)) for name in ("mfu", "mbu", "max_kv_cache_usage")),
        Cell(text=number(preemptions), tone="bad" if preemptions else ""),
    ]


def first_broken(capacity: Mapping[str, Any], bounds: Sequence[str], *, closed: bool) -> str:
    """Which bounds the lowest load above the capacity broke, by the figures of that probe.

    Args:
        closed: whether a load is a number of requests in flight.
    """
    best = _at(capacity)
    least = best["level"] if best else 0.0
    above = [p for p in _probes(capacity) if not p["holds"] and p["level"] > least]
    if not above:
        return "no load was found that breaks the SLA" if best else "not measured"
    probe = min(above, key=lambda p: p["level"])
    level = probe["level"]
    at = joined(number(level), "in", "flight") if closed else quantity("capacity", level)
    over = [told for name in bounds if (told := _over(name, probe))]
    if over:
        return f"at {at}: {', '.join(over)}"
    return f"at {at}: it fell behind, while what it had answered was in time"


def _over(name: str, probe: Mapping[str, Any]) -> str:
    metric, sense = split(name)
    limit, value = float(name.partition(sense)[2]), probe.get(metric)
    if value is None or (value <= limit if sense == "<=" else value >= limit):
        return ""
    return f"{label(metric)} {number(value)} of {quantity(metric, limit)}"


def _at(capacity: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The probe at the highest load that held."""
    held = [probe for probe in _probes(capacity) if probe["holds"]]
    return max(held, key=lambda p: float(p["level"]), default=None)


def _probes(capacity: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [probe for probe in capacity.get("probes", []) if probe["level"] is not None]


def _of_slots(running: float | None, slots: int | None) -> Cell:
    if running is None or slots is None:
        return Cell(text=number(running), tone="quiet" if running is None else "")
    return Cell(
        text=f"{number(running)} of {slots}", tone="bad" if running >= FULL * slots else ""
    )


def _share(share: float | None) -> Cell:
    full = share is not None and share >= FULL
    return Cell(text=percent(share), tone="bad" if full else "quiet" if share is None else "")
