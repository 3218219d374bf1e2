"""Where no config keeps the promise: how near one came, and what promise would hold."""

import math
from collections.abc import Mapping
from typing import Any

from results.text.figures import number
from results.text.layout import entry, joined, paragraph
from results.text.margins import margins, split
from results.text.settings import config_text
from results.text.standing import own_quadrants, why_none, winner

FURTHEST = 8.0
"""Times the limit; how far a bound was missed is kept up to here only."""


def nearest(summary: Mapping[str, Any], width: int) -> list[str]:
    infeasible = summary.get("infeasible")
    if infeasible is None:
        return []
    missing = [q for q in own_quadrants(summary) if winner(summary, q) is None]
    head = f"No winner for {missing[0]}" if missing else "No winner"
    reason = why_none(summary, missing[0]) if missing else "no config met the SLA"
    lines = paragraph(f"{head}: {reason}.", width)
    found = infeasible.get("nearest")
    if found is not None:
        lines += entry("nearest", f"trial {found['trial']}", width)
        lines += entry("config", config_text(summary, found["config"]), width)
        for index, line in enumerate(margins(found["sla"])):
            lines += entry("" if index else "SLA", line, width)
    binding, price = infeasible.get("binding"), infeasible.get("price")
    if binding is not None:
        sla = found["sla"] if found is not None else {}
        lines += entry("binding", binding_text(binding, price) + _besides(binding, sla), width)
    return lines


def _besides(binding: str, sla: Mapping[str, Any]) -> str:
    """The other bounds that are not kept."""
    others = [
        f"besides, {name} is {judgement['verdict']}"
        for name, judgement in sla.items()
        if name != binding and judgement["verdict"] != "met"
    ]
    return "".join(f"; {other}" for other in others)


def binding_text(binding: str, price: Mapping[str, Any] | None) -> str:
    if price is None:
        return f"{binding} is missed by most"
    if price["verdict"] == "undecided":
        return f"{binding} is undecided: more requests would decide it (--requests)"
    return f"{binding} would have to be {_would_hold(binding, price)}"


def _would_hold(binding: str, price: Mapping[str, Any]) -> str:
    """The limit rounded to the side on which it does hold."""
    limit, holds_at = float(price["limit"]), float(price["would_hold_at"])
    at_most = split(binding)[1] == "<="
    ratio = holds_at / limit if at_most else limit / holds_at
    if ratio >= FURTHEST * (1 - 1e-9):
        return joined("over" if at_most else "under", number(holds_at))
    step = 10.0 ** (math.floor(math.log10(holds_at)) - 2)
    steps = holds_at / step
    # 31.4 is 314.00000000000006 steps of 0.1.
    whole = math.ceil(steps - 1e-6) if at_most else math.floor(steps + 1e-6)
    return number(whole * step)
