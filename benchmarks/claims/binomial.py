"""How sure a counted share is, and whether a bound on it is kept."""

from dataclasses import dataclass
from typing import Any

from scipy.stats import beta


@dataclass(frozen=True, slots=True)
class Count:
    hits: int
    of: int

    @property
    def share(self) -> float:
        return self.hits / self.of

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Clopper & Pearson's, which covers at least as often as it says."""
        tail = (1 - confidence) / 2
        low = beta.ppf(tail, self.hits, self.of - self.hits + 1) if self.hits else 0.0
        high = beta.ppf(1 - tail, self.hits + 1, self.of - self.hits) if self.hits < self.of else 1
        return float(low), float(high)

    def __add__(self, other: "Count") -> "Count":
        return Count(self.hits + other.hits, self.of + other.of)

    def __str__(self) -> str:
        low, high = self.interval()
        return f"{100 * self.share:.1f} % ({100 * low:.1f} to {100 * high:.1f})"

    def figures(self) -> dict[str, Any]:
        low, high = self.interval()
        return {"share": self.share, "low": low, "high": high, "hits": self.hits, "of": self.of}


def verdict(count: Count, *, at_least: float = 0.0, at_most: float = 1.0) -> str:
    """``kept``, ``missed``, or ``missed by chance?`` where the interval reaches the bound."""
    if at_least <= count.share <= at_most:
        return "kept"
    low, high = count.interval()
    return "missed" if low > at_most or high < at_least else "missed by chance?"
