"""How a config stands against each bound: what was measured, what was promised, what is left."""

import re
from collections.abc import Mapping
from typing import Any

from results.text.figures import label, number, percent, unit
from results.text.layout import joined

BOUND = re.compile(r"(.+?)(<=|>=)(.+)")
SHARE = re.compile(r"p(\d+(?:\.\d+)?)_.+")


def margins(sla: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """One line per bound: ``p95 TTFT 212 of 500 ms (58 % to spare), ...``."""
    return [margin(name, judgement) for name, judgement in sla.items()]


def margin(name: str, judgement: Mapping[str, Any]) -> str:
    metric, sense = split(name)
    limit, value = float(judgement["limit"]), judgement["value"]
    named = joined(f"{limit:g}", unit(metric)).rstrip()
    if value is None:
        return (
            f"{label(metric)} not measured, {'at most' if sense == '<=' else 'at least'} {named}"
        )
    of = "of" if sense == "<=" else "for at least"
    left = f"{_left(value, limit, sense)}{_doubt(judgement)}"
    shown = f"{label(metric)} {joined(number(value), of, named)} ({left})"
    share = judgement.get("share")
    if share is None:
        return shown
    return f"{shown}, within it {_share(share)} of requests{_promised(metric)}"


def split(name: str) -> tuple[str, str]:
    """(metric, sense) of a bound's name."""
    match = BOUND.fullmatch(name)
    return (match[1], match[2]) if match else (name, "<=")


def _doubt(judgement: Mapping[str, Any]) -> str:
    """Where real engines would be, of a simulated figure, and whether the bound is then kept."""
    interval = judgement.get("interval")
    if interval is None:
        return ""
    low, high = interval
    between = "anywhere" if high is None else joined(number(low), "to", number(high))
    undecided = ", so undecided" if judgement["claim"] == "undecided" else ""
    return f"; on real engines {between}{undecided}"


def _left(value: float, limit: float, sense: str) -> str:
    spare = 1 - value / limit if sense == "<=" else value / limit - 1
    if spare >= 0:
        return f"{percent(spare)} to spare"
    return f"{percent(-spare)} {'over' if sense == '<=' else 'short'}"


def _share(share: float) -> str:
    # 99.96 % is not all of them.
    shown = ">99.9" if 0.9995 <= share < 1 else number(100 * share)
    return joined(shown, "%")


def _promised(metric: str) -> str:
    match = SHARE.fullmatch(metric)
    wanted = match[1] if match else "50" if metric.startswith("median_") else None
    return f" ({joined(wanted, '%')} promised)" if wanted else ""
