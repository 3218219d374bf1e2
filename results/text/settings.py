"""A config in words: where it departs from the default."""

from collections.abc import Mapping
from typing import Any

from results.text.layout import joined


def config_text(summary: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """The departures from the default config, those that never showed an effect last."""
    baseline = summary.get("baseline")
    if baseline is None:
        return settings(config)
    departed = departures(config, baseline["config"])
    idle = {knob: v for knob, v in departed.items() if knob in summary["unused_knobs"]}
    telling = {knob: v for knob, v in departed.items() if knob not in idle}
    text = settings(telling) or "the default config"
    return f"{text}; no effect seen: {settings(idle)}" if idle else text


def departures(config: Mapping[str, Any], reference: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that differ from the reference."""
    return {knob: v for knob, v in config.items() if knob not in reference or reference[knob] != v}


def settings(config: Mapping[str, Any]) -> str:
    return ", ".join(joined(knob, _setting(value)) for knob, value in config.items())


def _setting(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
