"""The program under test: whole studies, as they are run, with and without engine reuse."""

from dataclasses import replace

from benchmarks.search_efficiency import under_test
from benchmarks.search_efficiency.policies.policy import Policy, Step
from benchmarks.search_efficiency.stand import Stand

PARETUNE = Policy(
    name="paretune",
    about="a study as `tune` runs it: the default config first, multivariate TPE with the SLA as "
    "constraints, winners made simpler, live knobs turned on the running engine",
    live=True,
)
PARETUNE_RESTARTING = Policy(
    name="paretune-restarting",
    about="the same study with a launch for every trial, so that what the search gains can be "
    "told from what engine reuse gains",
)


def whole_study(stand: Stand, *, seed: int, budget_s: float, live: bool) -> list[Step]:
    """One study, and what it would have recommended after each trial."""
    per_launch = under_test.TRIALS_PER_LAUNCH if live else 1
    problem = replace(stand.surface.problem, trials_per_launch=per_launch)
    records = under_test.study(problem, stand, seed=seed, budget_s=budget_s)
    return [
        Step(charge, under_test.recommended(problem, records[: index + 1]))
        for index, charge in enumerate(stand.charges)
    ]
