"""Everything that decides which config is best; change any of it and it is another study."""

from dataclasses import dataclass, replace

from objectives import Profile, Quadrant, Workload
from results.record import Origin
from search_spaces import Config, SearchSpace


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One objective on its own traffic, at the offered load."""

    profile: Profile
    workload: Workload
    redrawn: tuple[Workload, ...] = ()
    """The same traffic drawn anew: one more for the search, then those that it never sees."""
    documents: int | None = None
    """Size of a batch job, for ``makespan_s``."""

    @property
    def draws(self) -> tuple[Workload, ...]:
        """What the search sees: the offered load, and what capacity is probed with."""
        return self.workload, *self.redrawn[:1]

    @property
    def fresh(self) -> tuple[Workload, ...]:
        """What only the confirmation of a winner sees."""
        return self.redrawn[1:]

    def at_rate(self, request_rate: float) -> "Case":
        """Every draw at another mean rate."""
        return replace(
            self,
            workload=self.workload.at_rate(request_rate),
            redrawn=tuple(draw.at_rate(request_rate) for draw in self.redrawn),
        )


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
    reuses_engine: bool = False
    """Whether a running engine can be retuned, so that trials may share a launch."""
    noiseless: bool = True
    """Whether the engine always gives the same figures; others are not bisected as finely."""

    def case(self, objective: str) -> Case:
        return next(case for case in self.cases if case.profile.name == objective)

    def speaking_for(self, quadrant: Quadrant) -> Case:
        """The case whose traffic a quadrant is judged on: its own, else the only one."""
        own = [case for case in self.cases if case.profile.quadrant is quadrant]
        return (own or list(self.cases))[0]
