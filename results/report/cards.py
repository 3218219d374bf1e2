"""The answer: a card for each quadrant, and one sentence for the study's own."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from objectives import Quadrant
from objectives.measurement import HIGHER_IS_BETTER
from results.report.evidence import Evidence
from results.report.rows import said
from results.text.block import from_file, ours, sizing
from results.text.figures import goal
from results.text.gain import gain_sentence
from results.text.infeasible import binding_text
from results.text.margins import margin, split
from results.text.settings import config_text, departures
from results.text.standing import ALL, own_quadrants, pairs_of, why_none, winner

QUESTIONS = {
    Quadrant.LIVE_AT_SCALE: "most requests per second within the SLA",
    Quadrant.INTERACTIVE: "soonest first token at the offered load",
    Quadrant.ECONOMY: "fewest GPUs for the offered load, then most requests per GPU",
    Quadrant.BULK: "most tokens per second",
}
ROOM = 0.15
"""Of the interval's width, left free at either end of its picture."""


@dataclass(frozen=True, slots=True)
class Margin:
    """One bound of the SLA: how much of it is used up."""

    text: str
    used_percent: float | None
    """Of the limit, 100 at most; ``None``: not measured, or bounded from below."""
    verdict: str


@dataclass(frozen=True, slots=True)
class Interval:
    """Where on a scale from 0 to 100 an interval, its middle and the default lie."""

    low: float
    high: float
    at: float
    default: float
    text: str


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
        interval=_interval(best, pairs),
        settings=changed,
        idle=idle,
        margins=[_margin(name, judged) for name, judged in best["sla"].items()],
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


def _interval(best: Mapping[str, Any], pairs: Mapping[str, Any] | None) -> Interval | None:
    found = pairs if pairs and "ratio" in pairs else best.get("gain") or {}
    low, high, ratio = found.get("low"), found.get("high"), found.get("ratio")
    if low is None or high is None or ratio is None:
        return None
    least, most = min(low, 1.0), max(high, 1.0)
    room = ROOM * (most - least) or ROOM
    start, width = least - room, most - least + 2 * room
    low_at, high_at, at, one = (100 * (x - start) / width for x in (low, high, ratio, 1.0))
    text = f"{ratio:.3g} times as good as the default, between {low:.3g} and {high:.3g}"
    return Interval(low_at, high_at, at, one, text)


def _margin(name: str, judged: Mapping[str, Any]) -> Margin:
    metric, sense = split(name)
    value, limit = judged["value"], float(judged["limit"])
    bounded_above = sense == "<=" and metric not in HIGHER_IS_BETTER
    used = min(100.0, 100 * value / limit) if bounded_above and value is not None else None
    claim = judged.get("claim")
    undecided = claim == "undecided" and judged["verdict"] == "met"
    return Margin(margin(name, judged), used, "undecided" if undecided else judged["verdict"])


def _notes(summary: Mapping[str, Any], best: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(what, how it stands)."""
    found = (
        ("sizing", sizing(best, summary["hardware"]["gpus"])),
        ("from its file", from_file(best)),
        ("with our scheduler", ours(best)),
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
