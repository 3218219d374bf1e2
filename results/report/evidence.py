"""All that a report is made of; nothing of it is asked of storage, an engine or the disk later."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from objectives import Goal, Quadrant
from results.record import TrialRecord
from results.text.standing import won

DEFAULT_ORIGIN = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class KnobImportance:
    """How much one knob had to do with one goal, as a share of all knobs together."""

    knob: str
    share: float
    low: float
    high: float
    """Between which ends the share lies in 80 % of the studies drawn from the same trials."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Latencies:
    """Of the requests of one trial at the offered load."""

    unanswered: int
    """Requests that were sent and never answered in full."""
    ttft_ms: Sequence[float]
    tpot_ms: Sequence[float]
    """Of answers of two tokens or more; a single token has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the study was asked to do, in the words of the command line's options."""

    trials: int | None
    budget_s: float | None
    pairs: int
    max_model_len: int
    hourly_cost_usd: float | None
    sized_to_default: bool
    """Whether the first engine time went to finding what load the default config carries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """A study as its report shows it."""

    summary: Mapping[str, Any]
    records: Sequence[TrialRecord]
    """Every trial, those that launched nothing among them."""
    confirmations: Sequence[TrialRecord]
    values: Mapping[str, tuple[Goal, Goal]]
    """By objective, the throughput and the latency that the search looked for."""
    knobs: Sequence[str]
    """Those that the search turned."""
    asked: Asked
    folder: str
    """As in the commands that go on from here."""
    exports: bool
    """Whether winners can be written as files for production."""
    importance: Mapping[tuple[str, str], Sequence[KnobImportance]] = field(default_factory=dict)
    """By objective and metric; empty where too few trials tell anything."""
    latencies: Mapping[tuple[str, int], Latencies] = field(default_factory=dict)
    """By objective and trial, of winners and default."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Of the programs that made the study's figures and this report."""

    @property
    def objectives(self) -> list[str]:
        return list(self.values)

    @property
    def several(self) -> bool:
        """Whether the study is of more kinds of traffic than one."""
        return len(self.values) > 1

    def whole(self, objective: str) -> list[TrialRecord]:
        """The trials that were measured whole: only they may be drawn or compared."""
        return [r for r in self.records if r.objective == objective and r.complete]

    def default(self, objective: str) -> TrialRecord | None:
        found = (r for r in self.whole(objective) if r.origin == DEFAULT_ORIGIN)
        return next(found, None)

    def winners(self, objective: str) -> dict[int, list[Quadrant]]:
        """By trial, the quadrants that it wins on this traffic."""
        only = next(iter(self.values), "")
        found: dict[int, list[Quadrant]] = {}
        for quadrant, best in won(self.summary).items():
            if best.get("objective", only) == objective:
                found.setdefault(best["trial"], []).append(quadrant)
        return found

    def bounds(self, objective: str) -> list[str]:
        """The names of the promise's bounds, such as ``p95_ttft_ms<=500``."""
        workload = self.summary["workloads"].get(objective) or {}
        return list(workload.get("sla") or {})

    def limit(self, objective: str, metric: str) -> float | None:
        """Up to where the promise lets a metric go."""
        found = (name.split("<=") for name in self.bounds(objective) if "<=" in name)
        return min((float(end) for bounded, end in found if bounded == metric), default=None)

    def of(self, objective: str) -> str:
        """Which traffic, where there is more than one kind."""
        return f" of the {objective} traffic" if self.several else ""
