"""Everything that decides which config is best; change any of it and it is another study."""

from dataclasses import dataclass

from objectives import Profile, Workload
from results.record import Origin
from search_spaces import Config, Deployment, SearchSpace


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One objective on its own traffic, at the offered load."""

    profile: Profile
    workload: Workload
    documents: int | None = None
    """Size of a batch job, for ``makespan_s``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What is tuned, for which traffic, on what; ``all`` has several cases, the others one."""

    objective: str
    cases: tuple[Case, ...]
    deployment: Deployment
    space: SearchSpace
    first: tuple[tuple[Origin, Config], ...]
    """(origin, full config) of what is tried before any search: the default, then presets."""
    seed: int
    capacity: bool = True
    """Whether the capacity load is measured besides the offered one."""
    hourly_cost_usd: float | None = None
    """Per GPU."""
    allow_scheduler_class: bool = False

    def case(self, objective: str) -> Case:
        return next(case for case in self.cases if case.profile.name == objective)
