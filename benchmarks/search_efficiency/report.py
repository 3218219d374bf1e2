"""Both tables as Markdown."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean

from benchmarks.search_efficiency.figures import (
    BASELINE,
    SHARES,
    Entries,
    Entry,
    Group,
    count,
    grouped,
    over_surfaces,
    policies_of,
    saved,
)
from benchmarks.search_efficiency.policies.studies import PARETUNE, PARETUNE_WHOLE
from benchmarks.search_efficiency.results_file import Result

PAGE = Path(__file__).parent / "page.md"
TITLES = {
    "own rules": "Each by its own rules",
    "same measurement": "All by the same measurement",
}
MARKS = {"better": " +", "worse": " \N{MINUS SIGN}", "-": "", None: ""}
PERCENT = [f"{share:.0%}".replace("%", " %") for share in SHARES]


def page(tables: str) -> str:
    """The whole page: what is compared and how, then the tables."""
    return PAGE.read_text("utf-8").replace("TABLES\n", tables + "\n")


def as_markdown(results: Sequence[Result], abouts: Mapping[str, str]) -> str:
    """
    Args:
        abouts: what each policy does, by name.
    """
    groups = grouped(results)
    met = list(dict.fromkeys(result.policy for result in results))
    lines = ["## Who is compared", "", *_policies(met, abouts), ""]
    title = None
    for group, entries in groups.items():
        if group[0] != title:
            title = group[0]
            lines += [f"## {TITLES[title]}", ""]
        lines += [*_group(group, entries), ""]
    return "\n".join(lines).rstrip()


def _policies(met: Sequence[str], abouts: Mapping[str, str]) -> Iterator[str]:
    yield from ("| policy | what it does |", "|---|---|")
    for policy in met:
        yield f"| {policy} | {abouts.get(policy, '')} |"


def _group(group: Group, entries: Entries) -> Iterator[str]:
    launch_s = group[1]
    if launch_s is not None:
        yield f"### A launch takes {launch_s:g} s"
        yield ""
    seeds = max(entry.seeds for policies in entries.values() for entry in policies.values())
    yield (
        f"Mean over {len(entries)} surfaces of the median over up to {seeds} seeds; regret and "
        "hypervolume after that share of the budget."
    )
    yield ""
    yield from _summary(entries)
    yield ""
    yield from _racing(entries)
    yield (
        "Regret at the end of the budget, median (worst seed); + better and \N{MINUS SIGN} worse "
        f"than {BASELINE}, p < 0.05."
    )
    yield ""
    yield from _by_surface(entries)


def _racing(entries: Entries) -> Iterator[str]:
    shares = saved(entries, PARETUNE.name, PARETUNE_WHOLE.name)
    if shares:
        least, middle, most = (f"{of(shares):.0%}".replace("%", " %") for of in (min, mean, max))
        yield (
            f"Stopping trials early spares {middle} of the seconds that a trial takes besides its "
            f"launch (mean over {len(shares)} surfaces, {least} to {most})."
        )
        yield ""


def _summary(entries: Entries) -> Iterator[str]:
    regret = [f"regret {share}" for share in PERCENT]
    volume = [f"hypervolume {share}" for share in PERCENT]
    head = ["policy", *regret, "worst seed", *volume, "trials", "launching"]
    head += [f"better / worse than {BASELINE} at {share}" for share in PERCENT[1:]]
    yield from _head(head)
    for policy in policies_of(entries):

        def told(of: str, share: float, policy: str = policy) -> str:
            return f"{over_surfaces(entries, policy, lambda e: getattr(e, of)[share]):.3f}"

        cells = [
            policy,
            *(told("regret", share) for share in SHARES),
            told("worst_regret", SHARES[-1]),
            *(told("hypervolume", share) for share in SHARES),
            f"{over_surfaces(entries, policy, lambda e: e.trials):.1f}",
            f"{over_surfaces(entries, policy, lambda e: e.launching):.0%}".replace("%", " %"),
            *(_than_random(entries, policy, share) for share in SHARES[1:]),
        ]
        yield f"| {' | '.join(cells)} |"


def _than_random(entries: Entries, policy: str, share: float) -> str:
    if policy == BASELINE:
        return ""
    better, worse = (count(entries, policy, share, told) for told in ("better", "worse"))
    return f"{better} / {worse}"


def _by_surface(entries: Entries) -> Iterator[str]:
    policies = policies_of(entries)
    yield from _head(["surface", *policies])
    for surface, found in entries.items():
        cells = [_cell(found.get(policy)) for policy in policies]
        yield f"| {surface} | {' | '.join(cells)} |"


def _cell(entry: Entry | None) -> str:
    if entry is None:
        return ""
    at = SHARES[-1]
    mark = MARKS[entry.than_random.get(at)]
    return f"{entry.regret[at]:.3f} ({entry.worst_regret[at]:.3f}){mark}"


def _head(names: Sequence[str]) -> Iterator[str]:
    yield f"| {' | '.join(names)} |"
    yield "|" + "---|" * len(names)
