"""The first sentence: what to do."""

from collections.abc import Mapping
from typing import Any

from objectives import Quadrant
from results.report.evidence import Evidence
from results.text.gain import gain_sentence
from results.text.settings import config_text, departures
from results.text.standing import own_quadrants, pairs_of, why_none, winner


def headline(evidence: Evidence) -> list[str]:
    """What to do, for each quadrant that the study was made for."""
    return [_advice(evidence.summary, quadrant) for quadrant in own_quadrants(evidence.summary)]


def _advice(summary: Mapping[str, Any], quadrant: Quadrant) -> str:
    best = winner(summary, quadrant)
    if best is None:
        return f"No config for {quadrant}: {why_none(summary, quadrant)}."
    gain = gain_sentence(best, pairs_of(summary, quadrant))
    changed = departures(best["config"], (summary.get("baseline") or {}).get("config", {}))
    if not changed:
        return f"For {quadrant}, keep the default config: {gain}."
    return f"For {quadrant}, set {config_text(summary, best['config'])}: {gain}."
