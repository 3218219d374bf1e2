"""What a winner gains over the default config."""

from collections.abc import Mapping
from typing import Any

from objectives.measurement import HIGHER_IS_BETTER
from results.text.figures import label, number

NO_GAIN = 0.01
"""Relative difference up to which there is none."""


def gain_cell(entry: Mapping[str, Any]) -> str:
    gain = entry.get("gain")
    if gain is None:
        return "not known"
    if not entry.get("baseline_keeps_sla", True):
        return "it breaks SLA"
    return "none" if _none(gain) else f"{number(gain['ratio'])}x"


def gain_sentence(entry: Mapping[str, Any]) -> str:
    gain = entry.get("gain")
    if gain is None:
        return "not known: the default config gives nothing to compare with"
    if not entry.get("baseline_keeps_sla", True):
        return "the default breaks this SLA"
    if _none(gain):
        return "no gain over the default"
    return f"{_times(entry['goal']['metric'], gain['ratio'])}{_interval(gain)}"


def _none(gain: Mapping[str, Any]) -> bool:
    low = gain.get("low")
    return gain["ratio"] <= 1 + NO_GAIN or (low is not None and low <= 1)


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
    return f" ({number(low)}x to {number(high)}x)"
