"""What a summary leaves to be concluded: the study's own quadrants, and why one has no winner."""

from collections.abc import Iterator, Mapping
from typing import Any

from objectives import Quadrant

ALL = "all"
NEEDS_CAPACITY = frozenset({Quadrant.LIVE_AT_SCALE, Quadrant.BULK})


def own_quadrants(summary: Mapping[str, Any]) -> list[Quadrant]:
    """Those the study was asked for."""
    return sorted(
        {Quadrant(workload["quadrant"]) for workload in summary["workloads"].values()},
        key=list(Quadrant).index,
    )


def winner(summary: Mapping[str, Any], quadrant: Quadrant) -> Mapping[str, Any] | None:
    found: Mapping[str, Any] | None = summary["best"].get(quadrant)
    return found


def pairs_of(summary: Mapping[str, Any], quadrant: Quadrant) -> Mapping[str, Any] | None:
    """What came of the quadrant's finalist, measured in pairs with the default."""
    found: Mapping[str, Any] | None = (summary.get("confirmation") or {}).get(quadrant)
    return found


def won(summary: Mapping[str, Any]) -> dict[Quadrant, Mapping[str, Any]]:
    """The winners there are."""
    found = {quadrant: winner(summary, quadrant) for quadrant in Quadrant}
    return {quadrant: entry for quadrant, entry in found.items() if entry is not None}


def why_none(summary: Mapping[str, Any], quadrant: Quadrant) -> str:
    """Why a quadrant has no winner."""
    trials = summary["trials"]
    if not trials["done"]:
        return "no config was tried"
    if trials["failed"] == trials["done"]:
        return "no config could be served"
    if quadrant in NEEDS_CAPACITY and has_capacity(summary) is False:
        lacking = "saturated throughput" if quadrant is Quadrant.BULK else "capacity"
        return f"{lacking} was not measured (--load offered)"
    return "no config of the stock engine met its SLA"


def has_capacity(summary: Mapping[str, Any]) -> bool | None:
    """Whether capacity was measured; ``None`` where the summary shows nothing measured."""
    measured = list(_measured(summary))
    return any("capacity" in loads for loads in measured) if measured else None


def _measured(summary: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The loads of every config the summary shows."""
    infeasible = summary.get("infeasible") or {}
    shown = (summary.get("baseline"), infeasible.get("nearest"), *won(summary).values())
    for entry in shown:
        if entry is not None:
            yield entry["loads"]
