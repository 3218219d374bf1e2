"""Studies side by side as plain text: what they are, and each quadrant's winners."""

from collections.abc import Sequence
from typing import Any

from objectives import Quadrant
from objectives.measurement import HIGHER_IS_BETTER
from results.across import Across, differing_knobs
from results.sides import COMPARED_BY, Side
from results.text.changes import method, sentence
from results.text.figures import label, number, unit
from results.text.gain import gain_cell
from results.text.layout import DASH, LEAST_WIDTH, WORD_JOIN, paragraph, table
from results.text.settings import config_text
from results.text.standing import pairs_of
from results.text.studies import facts

METRICS = (
    ("offered", "p95_ttft_ms"),
    ("offered", "p95_tpot_ms"),
    ("capacity", "capacity_per_gpu"),
    ("capacity", "gpus_needed"),
    ("capacity", "output_throughput_per_gpu"),
)


def render(across: Across, *, width: int = 100) -> str:
    """What ``tune compare`` prints; tables of many studies are cut into several."""
    width = max(LEAST_WIDTH, width)
    sections = [
        paragraph(_introduced(across), width),
        facts(across.sides, width),
        *(_quadrant(across, quadrant, width) for quadrant in Quadrant),
        paragraph(method(across), width),
    ]
    text = "\n\n".join("\n".join(lines) for lines in sections if lines)
    return text.replace(WORD_JOIN, " ")


def _introduced(across: Across) -> str:
    simulated = [side.label for side in across.sides if side.summary["simulated"]]
    text = f"{len(across.sides)} studies, compared with the first, A."
    if len(simulated) == len(across.sides):
        return f"{text} All figures are simulated, not measured on a GPU."
    if simulated:
        return f"{text} Simulated, not measured on a GPU: {', '.join(simulated)}."
    return text


def _quadrant(across: Across, quadrant: Quadrant, width: int) -> list[str]:
    goal = COMPARED_BY[quadrant]
    way = "higher" if goal.metric in HIGHER_IS_BETTER else "lower"
    head = f"{quadrant.numeral} {quadrant}, by {_named(goal.metric)}; {way} is better"
    lines = [head]
    for sides in _fitting(across, quadrant, width):
        lines += _table(across, sides, quadrant)
    lines += paragraph(_same_config(across.sides, quadrant), width)
    for change, other in zip(across.of(quadrant), across.sides[1:], strict=True):
        told = sentence(change, simulated=other.summary["simulated"])
        lines += paragraph(told, width)
    return lines


def _fitting(across: Across, quadrant: Quadrant, width: int) -> list[list[Side]]:
    """The studies of each table, the first in every one."""
    first, *others = across.sides
    each = len(others)
    while each > 1 and _widest(_table(across, [first, *others[:each]], quadrant)) > width:
        each -= 1
    return [[first, *others[i : i + each]] for i in range(0, len(others), each)]


def _widest(lines: Sequence[str]) -> int:
    return max(map(len, lines))


def _table(across: Across, sides: Sequence[Side], quadrant: Quadrant) -> list[str]:
    rows = [
        ["trial", *(_cell(side, quadrant, "trial") for side in sides)],
        *([_named(m), *(_metric(s, quadrant, load, m) for s in sides)] for load, m in METRICS),
        ["gain on default", *(_gain(side, quadrant) for side in sides)],
        *(
            [knob, *(_knob(side, quadrant, knob) for side in sides)]
            for knob in differing_knobs(across.sides, quadrant)
        ),
    ]
    told = [row for row in rows if any(cell != DASH for cell in row[1:])]
    if not told:
        return []
    return table("<" + ">" * len(sides), [["", *(side.label for side in sides)]], told)


def _named(metric: str) -> str:
    measured_in = unit(metric)
    return f"{label(metric)}, {measured_in}" if measured_in else label(metric)


def _cell(side: Side, quadrant: Quadrant, name: str) -> str:
    best = side.best(quadrant)
    return DASH if best is None else str(best[name])


def _metric(side: Side, quadrant: Quadrant, load: str, metric: str) -> str:
    best = side.best(quadrant)
    return DASH if best is None else number(best["loads"].get(load, {}).get(metric))


def _gain(side: Side, quadrant: Quadrant) -> str:
    best = side.best(quadrant)
    return DASH if best is None else gain_cell(best, pairs_of(side.summary, quadrant))


def _knob(side: Side, quadrant: Quadrant, knob: str) -> str:
    best: Any = side.best(quadrant) or {}
    value = best.get("config", {}).get(knob, DASH)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _same_config(sides: Sequence[Side], quadrant: Quadrant) -> str:
    """Where no knob differs, there is no row of any."""
    won = [(side, best) for side in sides if (best := side.best(quadrant))]
    if len(won) < 2 or differing_knobs(sides, quadrant):
        return ""
    side, best = won[0]
    return f"The same config in all: {config_text(side.summary, best['config'])}."
