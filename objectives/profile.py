"""An objective by name: the quadrant it belongs to and the latency it promises."""

from dataclasses import dataclass

from objectives.quadrant import Goal, Quadrant
from objectives.sla import Bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What is wanted of a config, besides the traffic."""

    name: str
    quadrant: Quadrant
    sla: tuple[Bound, ...]

    def values(self, *, capacity: bool) -> tuple[Goal, Goal]:
        """The two values the optimiser is told, with or without a measured capacity."""
        values = self.quadrant.values
        return values if capacity else (Goal("offered", "output_throughput_per_gpu"), values[1])
