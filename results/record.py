"""One trial as kept: what was tried, what was measured, how it stands against each promise."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from types import NoneType
from typing import Any, Literal, NoReturn, get_args

from objectives import Bound, Judgement, LoadName, Measurement, Quadrant, Verdict, judge
from search_spaces import Config

Origin = Literal["default", "preset", "sampler", "transfer", "confirm"]
Judgements = Mapping[str, Judgement]
"""Judgements by the name of the bound, in the order of the names."""
NUMBER = (int, float)
KINDS: Mapping[str, tuple[type, ...]] = {
    "number": (int,),
    "objective": (str,),
    "config": (dict,),
    "loads": (dict,),
    "failure": (dict, NoneType),
    "stopped_early": (bool,),
    "why_stopped": (str,),
    "engine_s": NUMBER,
    "measured_s": NUMBER,
    "launch_s": NUMBER,
    "pair": (int, NoneType),
    "arm": (str,),
    "launch_id": (int, NoneType),
}


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
    """It could not be of use any more: its promise was broken, or better configs were known."""
    why_stopped: str = ""
    launch_s: float = 0.0
    """Of ``engine_s``, until the engine was ready; 0 where one that ran already was retuned."""
    engine_s: float = 0.0
    """Of this trial, its launch included if it had one; simulated seconds when simulated."""
    measured_s: float = 0.0
    """Of ``engine_s``, under load."""
    pair: int | None = None
    """Of a run that confirms: under which fresh draw of the traffic."""
    arm: str = ""
    """Of such a run: what was measured, by the name it has among those measured in turns."""
    launch_id: int | None = None
    """Which launch measured it, several trials where live knobs were turned; ``None`` when a rule
    ruled it out before any launch."""

    @property
    def answered(self) -> bool:
        """Whether an engine was launched for it: what ``--trials`` counts."""
        return self.launch_id is not None

    @property
    def complete(self) -> bool:
        """Whether all of it was measured: only then may it be chosen, drawn or compared."""
        return self.answered and self.failure is None and not self.stopped_early

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

    def interval(self, load: LoadName, name: str) -> tuple[float, float] | None:
        """Between which ends a measured number is known to lie; ``None`` where it is exact."""
        ends = self.loads.get(load, {}).get("intervals", {}).get(name)
        return None if ends is None else (ends[0], ends[1])

    def to_json(self) -> str:
        """One line; everything keeps its order, so a config reads the same from the disk."""
        return json.dumps(asdict(self), allow_nan=False)

    @classmethod
    def from_json(cls, line: str) -> "TrialRecord":
        """Read what ``to_json`` wrote.

        Raises:
            ValueError: the line is not a trial record.
        """
        try:
            kept = json.loads(line, parse_constant=_not_finite)
            kept["sla"] = _judgements(kept["sla"])
            kept["quadrants"] = {
                Quadrant(name): _judgements(sla) for name, sla in kept["quadrants"].items()
            }
            record = cls(**kept)
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"Not a trial record: {error}") from error
        if wrong := _wrong(record):
            raise ValueError(f"Not a trial record: `{wrong}` is of another kind")
        return record


def all_met(judgements: Judgements) -> bool:
    return all(judgement.verdict is Verdict.MET for judgement in judgements.values())


def judge_all(bounds: tuple[Bound, ...], measurement: Measurement) -> dict[str, Judgement]:
    """A measurement against every bound, by name."""
    return {bound.name: judge(bound, measurement) for bound in bounds}


def _judgements(kept: Mapping[str, Any]) -> dict[str, Judgement]:
    read = {
        name: Judgement(**{**judgement, "verdict": Verdict(judgement["verdict"])})
        for name, judgement in kept.items()
    }
    for name, j in read.items():
        if not all(isinstance(n, NUMBER) for n in (j.limit, j.excess, j.value or 0, j.share or 0)):
            raise TypeError(f"a number of the bound {name} is none")
    return read


def _wrong(record: TrialRecord) -> str | None:
    """The first field that holds something of another kind."""
    found = [name for name, kind in KINDS.items() if not isinstance(getattr(record, name), kind)]
    if not found and not all(isinstance(metrics, dict) for metrics in record.loads.values()):
        found = ["loads"]
    if record.origin not in get_args(Origin):
        found.append("origin")
    return found[0] if found else None


def _not_finite(constant: str) -> NoReturn:
    raise ValueError(f"Not a trial record: {constant} is no number in JSON")
