"""The figures of the report: over seeds, at fixed shares of the budget, and against random."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, median
from typing import Any

from benchmarks.search_efficiency.results_file import Result
from benchmarks.search_efficiency.scoring import at_share
from benchmarks.search_efficiency.significance import Verdict, holm, p_value, verdict

SHARES = (0.25, 0.5, 1.0)
BASELINE = "random"
Group = tuple[str, float | None]
"""A table, and what a launch takes in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One policy on one surface, over its seeds."""

    seeds: int
    regret: Mapping[float, float]
    """Median over seeds, by share of the budget."""
    worst_regret: Mapping[float, float]
    hypervolume: Mapping[float, float]
    worst_hypervolume: Mapping[float, float]
    trials: float
    """Mean number of those that the budget did for."""
    launches: float
    launching: float
    """Share of the engine seconds spent."""
    loaded_s: float
    """Engine seconds for each trial, launching left out."""
    p: Mapping[float, float]
    """Of the regret being random's, corrected over surfaces; empty for random itself."""
    than_random: Mapping[float, Verdict]


Entries = Mapping[str, Mapping[str, Entry]]
"""By surface and policy."""


def grouped(results: Iterable[Result]) -> dict[Group, Entries]:
    """Each table's entries, in the order in which they were met."""
    found: dict[Group, list[Result]] = defaultdict(list)
    for result in results:
        found[result.table, result.launch_s].append(result)
    return {group: _entries(found[group]) for group in sorted(found, key=_order)}


def _order(group: Group) -> tuple[str, float]:
    return group[0], group[1] or 0.0


def _entries(results: Sequence[Result]) -> Entries:
    runs: dict[str, dict[str, dict[int, Result]]] = defaultdict(lambda: defaultdict(dict))
    for result in results:
        runs[result.surface][result.policy][result.seed] = result
    tests = {share: _against_random(runs, share) for share in SHARES}
    return {
        surface: {
            policy: _entry(
                list(seeds.values()),
                {
                    share: tests[share][policy][surface]
                    for share in SHARES
                    if policy in tests[share] and surface in tests[share][policy]
                },
            )
            for policy, seeds in policies.items()
        }
        for surface, policies in runs.items()
    }


def _against_random(
    runs: Mapping[str, Mapping[str, Mapping[int, Result]]], share: float
) -> dict[str, dict[str, tuple[float, Verdict]]]:
    """By policy and surface: the corrected p-value, and what it says."""
    pairs: dict[str, dict[str, tuple[list[float], list[float]]]] = defaultdict(dict)
    for surface, policies in runs.items():
        baseline = policies.get(BASELINE, {})
        for policy, seeds in policies.items():
            both = sorted(seeds.keys() & baseline.keys())
            if policy != BASELINE and both:
                pairs[policy][surface] = (
                    [regret_at(seeds[seed], share) for seed in both],
                    [regret_at(baseline[seed], share) for seed in both],
                )
    told = {}
    for policy, surfaces in pairs.items():
        corrected = holm({name: p_value(*both) for name, both in surfaces.items()})
        told[policy] = {
            name: (corrected[name], verdict(*both, corrected[name]))
            for name, both in surfaces.items()
        }
    return told


def _entry(seeds: Sequence[Result], tests: Mapping[float, tuple[float, Verdict]]) -> Entry:
    def over_seeds(
        of: Callable[[Result, float], float], pick: Callable[[list[float]], float]
    ) -> dict[float, float]:
        return {share: pick([of(seed, share) for seed in seeds]) for share in SHARES}

    spent_s = sum(seed.spent_s[-1] for seed in seeds if seed.spent_s)
    launching_s = sum(seed.launching_s for seed in seeds)
    trials = sum(len(seed.spent_s) for seed in seeds)
    return Entry(
        seeds=len(seeds),
        regret=over_seeds(regret_at, median),
        worst_regret=over_seeds(regret_at, max),
        hypervolume=over_seeds(hypervolume_at, median),
        worst_hypervolume=over_seeds(hypervolume_at, min),
        trials=trials / len(seeds),
        launches=mean(seed.launches for seed in seeds),
        launching=launching_s / spent_s if spent_s else 0.0,
        loaded_s=(spent_s - launching_s) / trials if trials else 0.0,
        p={share: p for share, (p, _) in tests.items()},
        than_random={share: told for share, (_, told) in tests.items()},
    )


def regret_at(result: Result, share: float) -> float:
    """Before anything is recommended all is lost."""
    found = at_share(result.regret, result.spent_s, share * result.budget_s)
    return 1.0 if found is None else found


def hypervolume_at(result: Result, share: float) -> float:
    return at_share(result.hypervolume, result.spent_s, share * result.budget_s) or 0.0


def policies_of(entries: Entries) -> list[str]:
    """In the order in which they were met."""
    return list(dict.fromkeys(policy for surface in entries.values() for policy in surface))


def over_surfaces(entries: Entries, policy: str, of: Callable[[Entry], float]) -> float:
    """Mean over the surfaces that the policy was on."""
    return mean(of(policies[policy]) for policies in entries.values() if policy in policies)


def count(entries: Entries, policy: str, share: float, told: Verdict) -> int:
    """Surfaces on which the policy is better, or worse, than random."""
    found = [p[policy].than_random.get(share) for p in entries.values() if policy in p]
    return found.count(told)


def saved(entries: Entries, policy: str, than: str) -> list[float]:
    """By surface: the share of a trial's seconds that one policy spends less than another."""
    both = [p for p in entries.values() if policy in p and than in p]
    return [1 - found[policy].loaded_s / found[than].loaded_s for found in both]


def as_json(results: Iterable[Result]) -> list[dict[str, Any]]:
    """One object per table, launch cost, surface and policy."""
    return [
        {
            "table": table,
            "launch_s": launch_s,
            "surface": surface,
            "policy": policy,
            "seeds": entry.seeds,
            **{
                name: {
                    f"{share:g}": round(value, 4) for share, value in getattr(entry, name).items()
                }
                for name in ("regret", "worst_regret", "hypervolume", "worst_hypervolume", "p")
            },
            "than_random": {f"{share:g}": told for share, told in entry.than_random.items()},
            "trials": round(entry.trials, 1),
            "launches": round(entry.launches, 1),
            "launching_share": round(entry.launching, 3),
            "loaded_s": round(entry.loaded_s, 3),
        }
        for (table, launch_s), entries in grouped(results).items()
        for surface, policies in entries.items()
        for policy, entry in policies.items()
    ]
