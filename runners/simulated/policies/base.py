"""What a scheduling policy is: it plans the next step of a replica."""

from typing import Protocol

from runners.simulated.scheduler import Plan, Scheduler


class Policy(Protocol):
    """What a policy keeps is its own: one object per replica where it says so."""

    def admission_s(self, scheduler: Scheduler, now_s: float) -> float:
        """The earliest time at which a waiting request may be admitted, as things stand."""
        ...

    def plan(self, scheduler: Scheduler, now_s: float) -> Plan:
        """The next step; it grants at least one token, or preempts."""
        ...
