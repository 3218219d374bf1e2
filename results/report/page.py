"""The page: the answer, the sections, and all it needs to be shown, in one file.

Whatever a study holds is text here: jinja escapes it, JSON is kept from closing its element, and
the content security policy lets nothing run or load but the two scripts that this file adds.
"""

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from results.report.advice import headline
from results.report.cards import cards
from results.report.coordinates import coordinates
from results.report.curves import curves
from results.report.distributions import distributions
from results.report.evidence import Evidence
from results.report.failures import failures
from results.report.frontier import frontier
from results.report.knobs import knobs
from results.report.limited import limited
from results.report.method import method
from results.report.pairs import confirmed
from results.report.parts import Figure, Section
from results.report.regrets import regrets
from results.report.timeline import timeline
from results.text.opening import oversized
from results.text.winners import served

if TYPE_CHECKING:
    from jinja2 import Environment

SECTIONS = (
    confirmed,
    frontier,
    curves,
    distributions,
    limited,
    regrets,
    coordinates,
    knobs,
    timeline,
    failures,
    method,
)


def render(evidence: Evidence) -> str:
    """The whole of ``report.html``."""
    summary = evidence.summary
    sections = [section(evidence) for section in SECTIONS]
    plotly = plotly_js() if _figures(sections) else ""
    script = _ours("report.js")
    return (
        _environment()
        .get_template("report.html")
        .render(
            summary=summary,
            headline=headline(evidence),
            oversized=oversized(summary),
            served=served(summary) if summary["trials"]["done"] else "",
            unfinished=_unfinished(evidence),
            cards=cards(evidence),
            sections=sections,
            style=_ours("report.css"),
            plotly=plotly,
            script=script,
            hashes=[_hash(text) for text in (plotly, script) if text],
        )
    )


@cache
def plotly_js() -> str:
    """plotly.js as its Python package ships it, without importing what draws with it."""
    return (files("plotly") / "package_data" / "plotly.min.js").read_text("utf-8").strip()


@cache
def _ours(name: str) -> str:
    return (files("results.report") / "template" / name).read_text("utf-8")


@cache
def _environment() -> "Environment":
    # Of no use to a study until it ends.
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("results.report", "template"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    return made


def _figures(sections: Sequence[Section]) -> bool:
    return any(isinstance(part, Figure) for section in sections for part in section.parts)


def _unfinished(evidence: Evidence) -> str:
    """How far a study got that is not over."""
    done, asked = evidence.summary["trials"]["done"], evidence.asked.trials
    if not done:
        return "No config was tried yet."
    if evidence.summary.get("confirmation") is not None or asked is None or done >= asked:
        return ""
    return f"{done} of {asked} configs were tried when this was written."


def _hash(script: str) -> str:
    """By which the page's policy knows a script."""
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
