"""Whether two policies differ by more than chance, seed by seed, over several surfaces."""

from collections.abc import Mapping, Sequence
from typing import Literal

from scipy.stats import wilcoxon

LEVEL = 0.05
Verdict = Literal["better", "worse", "-"]


def p_value(mine: Sequence[float], theirs: Sequence[float]) -> float:
    """Of the paired Wilcoxon signed-rank test, two-sided; 1 where no pair differs."""
    if all(a == b for a, b in zip(mine, theirs, strict=True)):
        return 1.0
    return float(wilcoxon(mine, theirs).pvalue)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Corrected for their number (Holm 1979)."""
    corrected, highest = {}, 0.0
    ordered = sorted(p_values, key=lambda name: p_values[name])
    for index, name in enumerate(ordered):
        highest = max(highest, min(1.0, (len(ordered) - index) * p_values[name]))
        corrected[name] = highest
    return corrected


def verdict(mine: Sequence[float], theirs: Sequence[float], corrected: float) -> Verdict:
    """Of what is better when lower, where the corrected p-value says that it differs."""
    if corrected >= LEVEL:
        return "-"
    pairs = list(zip(mine, theirs, strict=True))
    return "better" if sum(a < b for a, b in pairs) > sum(a > b for a, b in pairs) else "worse"
