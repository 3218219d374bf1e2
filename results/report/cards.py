"""The answer: a card for each quadrant."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from objectives import Quadrant
from results.report.evidence import Evidence
from results.report.gauges import Interval, Margin, interval_of, margin_of
from results.report.rows import said
from results.text.block import from_file, ours, sizing
from results.text.figures import goal
from results.text.gain import gain_sentence
from results.text.infeasible import binding_text
from results.text.margins import margin
from results.text.settings import config_text, departures
from results.text.standing import ALL, own_quadrants, pairs_of, why_none, winner

QUESTIONS = {
    Quadrant.LIVE_AT_SCALE: "most requests per second within the SLA",
    Quadrant.INTERACTIVE: "soonest first token at the offered load",
    Quadrant.ECONOMY: "fewest GPUs for the offered load, then most requests per GPU",
    Quadrant.BULK: "most tokens per second",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One quadrant as the reader sees it first."""

    quadrant: Quadrant
    own: bool
    """Whether the study was made for it."""
    question: str
    under: str
    goal: str = ""
    trial: int | None = None
    chip: str = ""
    sure: bool = False
    gain: str = ""
    interval: Interval | None = None
    settings: Sequence[tuple[str, str]] = ()
    """What to change from the default config."""
    idle: Sequence[tuple[str, str]] = ()
    """Changed, too, but without an effect that was seen."""
    margins: Sequence[Margin] = ()
    notes: Sequence[tuple[str, str]] = ()
    commands: Sequence[str] = ()
    why_none: str = ""
    nearest: Sequence[str] = field(default_factory=tuple)


def cards(evidence: Evidence) -> list[Card]:
    """The study's own quadrants first."""
    own = own_quadrants(evidence.summary)
    return [_card(evidence, q) for q in (*own, *(q for q in Quadrant if q not in own))]


def _card(evidence: Evidence, quadrant: Quadrant) -> Card:
    summary = evidence.summary
    best, own = winner(summary, quadrant), quadrant in own_quadrants(summary)
    question, under = QUESTIONS[quadrant], _under(summary, quadrant, own=own)
    if best is None:
        return Card(
            quadrant=quadrant,
            own=own,
            question=question,
            under=under,
            why_none=why_none(summary, quadrant),
            nearest=_nearest(summary) if own else (),
        )
    pairs = pairs_of(summary, quadrant)
    changed, idle = _changed(summary, best["config"])
    chip, sure = _chip(best, pairs)
    return Card(
        quadrant=quadrant,
        own=own,
        question=question,
        under=under,
        goal=goal(best["goal"]["metric"], best["goal"]["value"]),
        trial=best["trial"],
        chip=chip,
        sure=sure,
        gain=gain_sentence(best, pairs),
        interval=interval_of(best, pairs),
        settings=changed,
        idle=idle,
        margins=[margin_of(name, judged) for name, judged in best["sla"].items()],
        notes=_notes(summary, best),
        commands=_commands(evidence, quadrant) if evidence.exports else (),
    )


def _under(summary: Mapping[str, Any], quadrant: Quadrant, *, own: bool) -> str:
    """Whose traffic and whose promise."""
    objective = summary["objective"]
    if objective == ALL:
        return f"{quadrant.representative} traffic and its SLA"
    if own:
        return f"{objective} traffic and its SLA"
    return f"{objective} traffic under the SLA of {quadrant.representative}"


def _changed(
    summary: Mapping[str, Any], config: Mapping[str, Any]
) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    baseline = (summary.get("baseline") or {}).get("config", {})
    changed, unused = departures(config, baseline), summary["unused_knobs"]
    told = [(knob, said(value)) for knob, value in changed.items()]
    return [s for s in told if s[0] not in unused], [s for s in told if s[0] in unused]


def _chip(best: Mapping[str, Any], pairs: Mapping[str, Any] | None) -> tuple[str, bool]:
    """(how sure the gain is, whether it was confirmed)."""
    if not best.get("confirmed"):
        return "not confirmed", False
    if pairs is None:
        return "nothing looked better", False
    if pairs["outcome"] == "gain":
        return f"gain confirmed in {pairs['pairs']} pairs", True
    return "no gain confirmed", False


def _notes(summary: Mapping[str, Any], best: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(what, how it stands)."""
    found = (
        ("sizing", sizing(best, summary["hardware"]["gpus"])),
        ("from its file", from_file(best)),
        ("ours", ours(best)),
    )
    return [(name, text) for name, text in found if text]


def _commands(evidence: Evidence, quadrant: Quadrant) -> list[str]:
    folder = evidence.folder.rstrip("/") or evidence.folder
    file = shlex.quote(f"{folder}/best/{quadrant}.yaml")
    return [
        f"vllm serve --config {file}",
        f"tune export {shlex.quote(folder)} --quadrant {quadrant} --to kubernetes",
    ]


def _nearest(summary: Mapping[str, Any]) -> list[str]:
    """How near a config came, and what promise would hold."""
    infeasible = summary.get("infeasible") or {}
    found, binding = infeasible.get("nearest"), infeasible.get("binding")
    return [
        *(
            [f"Nearest is trial {found['trial']}: {config_text(summary, found['config'])}."]
            if found
            else []
        ),
        *([f"{margin(name, judged)}." for name, judged in found["sla"].items()] if found else []),
        *([f"{binding_text(binding, infeasible.get('price'))}."] if binding else []),
    ]
