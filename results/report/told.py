"""What is said of a trial when a pointer rests on it."""

from objectives import Quadrant
from results.record import TrialRecord
from results.report.drawing import hover
from results.report.evidence import Evidence
from results.text.figures import label, quantity
from results.text.settings import config_text

OFFERED = ("p95_ttft_ms", "p95_tpot_ms", "p95_e2el_ms")
CAPACITY = ("capacity", "output_throughput_per_gpu", "gpus_needed")
LINE_CHARACTERS = 60


def told(evidence: Evidence, record: TrialRecord) -> str:
    """Number, standing, settings and main figures."""
    config = config_text(evidence.summary, record.config)
    return hover(
        title(evidence, record),
        [*_broken(config), kept(record), *_figures(record)],
    )


def title(evidence: Evidence, record: TrialRecord) -> str:
    won = evidence.winners(record.objective).get(record.number, [])
    wins = f", winner of {_numerals(won)}" if won else ""
    origin = f" ({record.origin})" if record.origin != "sampler" else ""
    return f"trial {record.number}{origin}{wins}"


def kept(record: TrialRecord) -> str:
    """Whether it keeps the SLA, and what it does not keep."""
    if record.meets_sla:
        return "keeps the SLA"
    missed = [f"{name} {j.verdict}" for name, j in record.sla.items() if j.verdict != "met"]
    return f"does not keep the SLA: {', '.join(missed)}"


def _figures(record: TrialRecord) -> list[str]:
    named = [
        *((name, record.metric("offered", name)) for name in OFFERED),
        *((name, record.metric("capacity", name)) for name in CAPACITY),
    ]
    return [
        f"{label(name)}: {quantity(name, value)}" for name, value in named if value is not None
    ]


def _broken(text: str) -> list[str]:
    """In lines that fit beside a point."""
    lines = [""]
    for setting in text.split(", "):
        if lines[-1] and len(lines[-1]) + len(setting) > LINE_CHARACTERS:
            lines.append("")
        lines[-1] += f"{', ' if lines[-1] else ''}{setting}"
    return lines


def _numerals(quadrants: list[Quadrant]) -> str:
    return ", ".join(quadrant.numeral for quadrant in quadrants)
