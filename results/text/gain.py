"""What a winner gains over the default config."""

from collections.abc import Mapping
from typing import Any

from objectives.measurement import HIGHER_IS_BETTER
from results.text.figures import label, number

NO_GAIN = 0.01
"""Relative difference up to which there is none, where no interval says more."""


def gain_cell(entry: Mapping[str, Any], pairs: Mapping[str, Any] | None = None) -> str:
    """
    Args:
        pairs: what came of the quadrant's finalist, where one was measured beside the default.
    """
    gain = entry.get("gain")
    if gain is None:
        return "not known"
    if not entry.get("baseline_keeps_sla", True):
        return "it breaks SLA"
    if pairs is not None and pairs["outcome"] == "no significant gain":
        return "none"
    return "none" if _none(gain) else f"{number(gain['ratio'])}x"


def gain_sentence(entry: Mapping[str, Any], pairs: Mapping[str, Any] | None = None) -> str:
    gain = entry.get("gain")
    if gain is None:
        return "not known: the default config gives nothing to compare with"
    outcome = "not measured" if pairs is None else pairs["outcome"]
    if not entry.get("baseline_keeps_sla", True) and outcome != "breaks its SLA":
        return "the default breaks this SLA"
    if pairs is not None and outcome not in ("gain", "not measured"):
        return _not_gained(pairs)
    if _none(gain):
        return "no gain over the default"
    return f"{_times(entry['goal']['metric'], gain['ratio'])}{_interval(gain)}"


def _not_gained(pairs: Mapping[str, Any]) -> str:
    """Of a finalist that was measured anew and did not win by it."""
    trial = f"trial {pairs['trial']}, the best of the search,"
    if pairs["outcome"] == "breaks its SLA":
        kept, runs = pairs["sla_kept"], pairs["runs"]
        return f"{trial} kept the SLA in {kept} of {runs} runs on fresh traffic"
    measured = f"{_times(pairs['goal'], pairs['ratio'])}{_interval(pairs)}"
    if pairs["outcome"] == "loss":
        return f"{trial} is worse on fresh traffic: {measured}"
    return f"no significant gain: of {trial} {measured} on fresh traffic"


def _none(gain: Mapping[str, Any]) -> bool:
    low: float | None = gain.get("low")
    return gain["ratio"] <= 1 + NO_GAIN if low is None else low <= 1


def _times(metric: str, ratio: float) -> str:
    if metric == "gpus_needed":
        return f"the default needs {number(ratio)}x the GPUs"
    if metric in HIGHER_IS_BETTER:
        return f"{number(ratio)}x the default's {metric}"
    return f"the default's {label(metric)} is {number(ratio)}x this"


def _interval(gain: Mapping[str, Any]) -> str:
    low, high = gain.get("low"), gain.get("high")
    if low is None or high is None:
        return ""
    return f" (95 % interval {number(low)}x to {number(high)}x)"
