"""The figures as Markdown."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from benchmarks.claims.binomial import Count, verdict
from benchmarks.claims.studies import CLAIMED_AT_MOST, COVERED_AT_LEAST, TRUE_RATIOS, Found

HEAD = (
    "goal",
    "machine",
    "sd between runs",
    "sd of a run's figure",
    "pairs",
    *(f"claimed at {ratio:.2f}" for ratio in TRUE_RATIOS),
    "interval holds the truth",
    "false claims; coverage",
)


def claims(found: Sequence[Found]) -> Iterator[str]:
    """One row per setting: claims by true ratio, coverage over all of its ratios."""
    return _table(HEAD, map(_row, found))


def _row(found: Found) -> list[str]:
    setting, (same, *_) = found.setting, found.cells
    held = sum((cell.covered for cell in found.cells), start=Count(0, 0))
    false_claims = verdict(same.claimed, at_most=CLAIMED_AT_MOST)
    return [
        setting.goal,
        setting.about,
        f"{100 * setting.machine.run_sd:g} %",
        f"{100 * found.figure_sd:.1f} %",
        str(setting.pairs),
        *(str(cell.claimed) for cell in found.cells),
        str(held),
        f"{false_claims}; {verdict(held, at_least=COVERED_AT_LEAST)}",
    ]


def families(found: Mapping[str, Count]) -> Iterator[str]:
    head = ("four quadrants at once", "any claimed at 1.00", "false claims")
    rows = ([k, str(v), verdict(v, at_most=CLAIMED_AT_MOST)] for k, v in found.items())
    return _table(head, rows)


def coverage(found: Mapping[str, Mapping[str, Count]]) -> Iterator[str]:
    names = next(iter(found.values())).keys()
    rows = ([about, *map(str, counts.values())] for about, counts in found.items())
    return _table(("latencies in one run", *names), rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    for cells in (head, ["---"] * len(head), *rows):
        yield f"| {' | '.join(cells)} |"
