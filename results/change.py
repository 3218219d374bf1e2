"""From one study's winner to another's: what is said of it."""

from dataclasses import asdict, dataclass
from typing import Any

from objectives import Quadrant
from results.comparison import Comparison, Effect


@dataclass(frozen=True, slots=True)
class Told:
    """A comparison among all that are reported; above 1 is better."""

    comparison: Comparison
    p_holm: float
    effect: Effect

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self.comparison), "p_holm": self.p_holm, "effect": str(self.effect)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """From the first study's winner of a quadrant to another's."""

    quadrant: Quadrant
    label: str
    """Of the other study."""
    ratio: float | None = None
    """Of what each search found in one run, where that may be compared at all."""
    runs: tuple[int, int] = (0, 0)
    """That confirmed either winner."""
    same_draws: bool = False
    level: Told | None = None
    over_default: Told | None = None
    """Of the gains over each study's own default."""
    why_not: tuple[str, ...] = ()
    """What is not the same in both, or is missing."""

    def to_json(self) -> dict[str, Any]:
        return {
            "study": self.label,
            "ratio": self.ratio,
            "runs": list(self.runs),
            "same_draws": self.same_draws,
            "level": self.level.to_json() if self.level else None,
            "over_default": self.over_default.to_json() if self.over_default else None,
            "why_not": list(self.why_not),
        }
