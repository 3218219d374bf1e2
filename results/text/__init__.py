"""The answer of a study as plain text, from ``summary.json`` alone."""

from collections.abc import Mapping
from typing import Any

from results.text.closing import cost, counts, places, regrets, unused
from results.text.curve import curve
from results.text.infeasible import nearest
from results.text.layout import LEAST_WIDTH, WORD_JOIN
from results.text.opening import caveats, subject
from results.text.winners import winners


def render(summary: Mapping[str, Any], *, folder: str, width: int = 100) -> str:
    """What ends a study and what ``tune show`` prints.

    Lines keep to ``width``, at least 40, except paths and commands, which stay on one line each.
    """
    width = max(LEAST_WIDTH, width)
    sections = (
        caveats(summary, width),
        subject(summary, width),
        *winners(summary, width),
        nearest(summary, width),
        curve(summary, width),
        regrets(summary, width),
        unused(summary, width),
        [*counts(summary, width), *cost(summary, width)],
        places(summary, folder),
    )
    text = "\n\n".join("\n".join(lines) for lines in sections if lines)
    return text.replace(WORD_JOIN, " ")


__all__ = ["render"]
