"""The four use-case quadrants: what each tells the optimiser and how its winner is chosen."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from objectives.measurement import HIGHER_IS_BETTER

LoadName = Literal["offered", "capacity"]


@dataclass(frozen=True, slots=True)
class Goal:
    """A metric under one of the two loads, to be made as good as it gets."""

    load: LoadName
    metric: str

    @property
    def direction(self) -> Literal["maximize", "minimize"]:
        return "maximize" if self.metric in HIGHER_IS_BETTER else "minimize"


CAPACITY = Goal("capacity", "capacity_per_gpu")
SATURATED = Goal("capacity", "output_throughput_per_gpu")
FIRST_TOKEN = Goal("offered", "p95_ttft_ms")
END_TO_END = Goal("offered", "p95_e2el_ms")
GPUS = Goal("capacity", "gpus_needed")


class Quadrant(StrEnum):
    """Use cases by how soon the first token and how much throughput they need."""

    LIVE_AT_SCALE = "live-at-scale"
    INTERACTIVE = "interactive"
    ECONOMY = "economy"
    BULK = "bulk"

    @property
    def numeral(self) -> str:
        return ("I", "II", "III", "IV")[list(Quadrant).index(self)]

    @property
    def representative(self) -> str:
        """The objective that stands for the quadrant in a study of another one, and in `all`."""
        return _REPRESENTATIVE[self]

    @property
    def goals(self) -> tuple[Goal, ...]:
        """What its winner is chosen by, the first that tells two configs apart.

        Cost per token at the SLA falls exactly as ``capacity_per_gpu`` rises, so the latter stands
        for it and needs no price.
        """
        return _GOALS[self]

    @property
    def values(self) -> tuple[Goal, Goal]:
        """The two values the optimiser is told."""
        if self is Quadrant.BULK:
            return SATURATED, END_TO_END
        return CAPACITY, FIRST_TOKEN


_REPRESENTATIVE = {
    Quadrant.LIVE_AT_SCALE: "rag",
    Quadrant.INTERACTIVE: "chat",
    Quadrant.ECONOMY: "reasoning",
    Quadrant.BULK: "summarize",
}
_GOALS = {
    Quadrant.LIVE_AT_SCALE: (CAPACITY,),
    Quadrant.INTERACTIVE: (FIRST_TOKEN, GPUS),
    # The last decides only where capacity is not measured.
    Quadrant.ECONOMY: (GPUS, CAPACITY, Goal("offered", "output_throughput_per_gpu")),
    Quadrant.BULK: (SATURATED,),
}
