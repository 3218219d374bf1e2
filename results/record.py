"""One trial as kept: what was tried, what was measured, how it stands against each promise."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from objectives import Bound, Judgement, LoadName, Measurement, Quadrant, Verdict, judge
from search_spaces import Config

Origin = Literal["default", "preset", "sampler", "transfer", "confirm"]
Judgements = Mapping[str, Judgement]
"""Judgements by the name of the bound, in the order of the names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRecord:
    """One config under one objective's traffic."""

    number: int
    objective: str
    config: Config
    origin: Origin
    loads: Mapping[LoadName, Mapping[str, Any]] = field(default_factory=dict)
    """Metrics of each load; ``capacity`` also lists its ``probes``."""
    sla: Judgements = field(default_factory=dict)
    """The objective's own promise at the offered load."""
    quadrants: Mapping[Quadrant, Judgements] = field(default_factory=dict)
    """The promise of every quadrant at the offered load, this objective's own among them."""
    failure: Mapping[str, str] | None = None
    """``{kind, detail}`` of a config that could not be served."""
    stopped_early: bool = False
    engine_s: float = 0.0
    """Launch to exit; simulated seconds when simulated."""
    launch_id: int | None = None
    """Which launch measured it; ``None`` when a rule ruled it out before any launch."""

    @property
    def answered(self) -> bool:
        """Whether an engine was launched for it: what ``--trials`` counts."""
        return self.launch_id is not None

    @property
    def meets_sla(self) -> bool:
        return self.failure is None and all_met(self.sla)

    def serves(self, quadrant: Quadrant) -> bool:
        """Whether it keeps that quadrant's promise."""
        return self.failure is None and all_met(self.quadrants[quadrant])

    def metric(self, load: LoadName, name: str) -> float | None:
        """A measured number, or ``None`` where there is none."""
        value: float | None = self.loads.get(load, {}).get(name)
        return value

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True, allow_nan=False)

    @classmethod
    def from_json(cls, line: str) -> "TrialRecord":
        """Read what ``to_json`` wrote.

        Raises:
            ValueError: the line is not a trial record.
        """
        try:
            kept = json.loads(line)
            kept["sla"] = _judgements(kept["sla"])
            kept["quadrants"] = {
                Quadrant(name): _judgements(sla) for name, sla in kept["quadrants"].items()
            }
            return cls(**kept)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"Not a trial record: {error}") from error


def all_met(judgements: Judgements) -> bool:
    return all(judgement.verdict is Verdict.MET for judgement in judgements.values())


def judge_all(bounds: tuple[Bound, ...], measurement: Measurement) -> dict[str, Judgement]:
    """A measurement against every bound, by name."""
    return {bound.name: judge(bound, measurement) for bound in bounds}


def _judgements(kept: Mapping[str, Any]) -> dict[str, Judgement]:
    return {
        name: Judgement(**{**judgement, "verdict": Verdict(judgement["verdict"])})
        for name, judgement in kept.items()
    }
