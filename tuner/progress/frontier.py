"""What there is to choose from so far: the trials of an objective in its two values."""

from objectives import Goal
from results.pareto import front, values
from results.record import TrialRecord
from results.text.figures import label, unit
from tuner.progress.scatter import Mark, Point, scatter
from tuner.progress.words import spaced

PER_GPU = " per GPU"


class Frontier:
    """Grows by one record at a time.

    Args:
        goals: a throughput and a latency.
    """

    def __init__(self, goals: tuple[Goal, Goal]) -> None:
        self._goals = goals
        self._records: list[TrialRecord] = []
        self._front: list[TrialRecord] = []
        self._drawing: tuple[object, list[str]] = (None, [])

    def add(self, record: TrialRecord) -> None:
        """Records that were not measured whole are left out."""
        if record.complete and values(record, self._goals) is not None:
            # What is dominated once stays so.
            self._front = front([*self._front, record], self._goals)
            # Last, since it is drawn by another thread when there is a record more.
            self._records.append(record)

    def drawn(self, *, name: str, width: int, rows: int) -> list[str]:
        """Latency over throughput; nothing before there is a trial.

        Args:
            name: of the objective, where that needs saying.
        """
        asked = (name, width, rows, len(self._records))
        if self._drawing[0] != asked:
            self._drawing = asked, self._draw(name, width, rows)
        return self._drawing[1]

    def _draw(self, name: str, width: int, rows: int) -> list[str]:
        points = self.points()
        if not points:
            return []
        throughput, latency = (_axis(goal) for goal in self._goals)
        y_name = f"{name}: {latency}" if name else latency
        return scatter(points, x_name=throughput, y_name=y_name, width=width, rows=rows)

    def points(self) -> list[Point]:
        best = {record.number for record in self._front}
        points = []
        for record in list(self._records):
            found = values(record, self._goals)
            if found is not None:
                throughput, latency = found
                points.append(Point(throughput, latency, _mark(record, best)))
        return points


def _mark(record: TrialRecord, best: set[int]) -> Mark:
    if record.origin == "default":
        return Mark.DEFAULT
    if not record.meets_sla:
        return Mark.BROKEN
    return Mark.FRONT if record.number in best else Mark.DOMINATED


def _axis(goal: Goal) -> str:
    """``capacity, req/s/GPU``."""
    return f"{spaced(label(goal.metric)).removesuffix(PER_GPU)}, {unit(goal.metric)}"
