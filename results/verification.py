"""Whether an engine does what was promised, in words and as JSON."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from objectives import Quadrant
from objectives.student_t import quantile, two_sided_p
from results.comparison import CONFIDENCE, Comparison, Effect

AS_PROMISED, BETTER, WORSE = "as promised", "better", "worse"


def unpaired(ratios: Sequence[float]) -> Comparison:
    """Runs beside one promise of a single run: it may have been as lucky as any of them.

    The 95 % interval in which one run more would lie, by Student's t of the logarithms.
    """
    logs = [math.log(ratio) for ratio in ratios]
    freedom = len(logs) - 1
    mean, error = fmean(logs), stdev(logs) * math.sqrt(1 + 1 / len(logs))
    margin = quantile(CONFIDENCE, freedom) * error
    p_value = two_sided_p(abs(mean) / error, freedom) if error else float(mean == 0)
    low, high = math.exp(mean - margin), math.exp(mean + margin)
    return Comparison(math.exp(mean), low, high, p_value, len(ratios))


@dataclass(frozen=True, slots=True)
class Promise:
    """One metric at the offered load; means over the runs that are compared."""

    metric: str
    promised: float
    measured: float
    comparison: Comparison
    """Of ratios that are more than 1 where it is better than promised."""
    effect: Effect


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """
    Args:
        paired: whether each run stands beside one of the same requests before.
        broken: bounds that were broken in most runs.
    """

    quadrant: Quadrant
    trial: int
    runs: int
    simulated: bool
    paired: bool
    promises: tuple[Promise, ...]
    broken: tuple[str, ...]

    @property
    def verdict(self) -> str:
        shown = {promise.effect for promise in self.promises}
        if self.broken or Effect.WORSE in shown:
            return WORSE
        return BETTER if Effect.BETTER in shown else AS_PROMISED

    def to_json(self) -> dict[str, Any]:
        return {
            "verdict": self.verdict,
            "quadrant": str(self.quadrant),
            "trial": self.trial,
            "runs": self.runs,
            "paired": self.paired,
            "promise_simulated": self.simulated,
            "metrics": {p.metric: _json(p) for p in self.promises},
            "broken": list(self.broken),
        }

    def __str__(self) -> str:
        """Lines for a terminal."""
        beside = "each beside its pair in the confirmation" if self.paired else "unpaired"
        lines = [
            f"{self.verdict}: {self.quadrant}, trial {self.trial}, {self.runs} runs, {beside}"
        ]
        lines += [_line(promise) for promise in self.promises]
        lines += [f"  {name} was broken in most runs" for name in self.broken]
        if not self.paired:
            lines.append("  The promise is of one run of other requests, so it is a looser check.")
        if self.simulated:
            lines.append("  The promise was SIMULATED, not measured.")
        return "\n".join(lines)


def _json(promise: Promise) -> dict[str, Any]:
    found = promise.comparison
    return {
        "promised": promise.promised,
        "measured": promise.measured,
        "ratio": found.ratio,
        "low": found.low,
        "high": found.high,
        "effect": str(promise.effect),
    }


def _line(promise: Promise) -> str:
    found = promise.comparison
    said = {Effect.BETTER: "better", Effect.WORSE: "WORSE"}.get(promise.effect, "as promised")
    return (
        f"  {promise.metric}: promised {promise.promised:.4g}, measured {promise.measured:.4g}, "
        f"{found.ratio:.3g} times as good ({found.low:.3g} to {found.high:.3g}): {said}"
    )
