"""What is wanted: the traffic to serve, how serving it is measured, and what counts as good."""

from objectives.measurement import Measurement, RequestResult
from objectives.profile import Profile
from objectives.quadrant import Goal, LoadName, Quadrant
from objectives.sla import Bound, Judgement, Verdict, judge, parse_sla
from objectives.workload import Load, Request, Workload

__all__ = [
    "Bound",
    "Goal",
    "Judgement",
    "Load",
    "LoadName",
    "Measurement",
    "Profile",
    "Quadrant",
    "Request",
    "RequestResult",
    "Verdict",
    "Workload",
    "judge",
    "parse_sla",
]
