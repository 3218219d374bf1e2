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
    variant=True,
)
PARETUNE_WHOLE = Policy(
    name="paretune-whole",
    about="the same study with no trial stopped early, so that what stopping gains can be told",
    live=True,
    racing=False,
    variant=True,
)


def whole_study(stand: Stand, policy: Policy, *, seed: int, budget_s: float) -> list[Step]:
    """One study, and what it would have recommended after each trial."""
    problem = replace(stand.surface.problem, reuses_engine=policy.live)
    records = under_test.study(problem, stand, seed=seed, budget_s=budget_s, racing=policy.racing)
    return [
        Step(charge, under_test.recommended(problem, records[: index + 1]))
        for index, charge in enumerate(stand.charges)
    ]
