"""Everything that decides which config is best; change any of it and it is another study."""

from dataclasses import dataclass

from objectives import Profile, Workload
from results.record import Origin
from search_spaces import Config, SearchSpace


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
    gpus: int
    space: SearchSpace
    first: tuple[tuple[Origin, Config], ...]
    """(origin, full config) of what is tried before any search: the default, then presets."""
    seed: int
    capacity: bool = True
    """Whether the capacity load is measured besides the offered one."""
    hourly_cost_usd: float | None = None
    """Per GPU."""
    allow_scheduler_class: bool = False
    trials_per_launch: int = 1
    """Trials in a row that share their launch knobs, where a running engine can be retuned."""
    noiseless: bool = True
    """Whether the engine always gives the same figures; others are not bisected as finely."""

    def case(self, objective: str) -> Case:
        return next(case for case in self.cases if case.profile.name == objective)
