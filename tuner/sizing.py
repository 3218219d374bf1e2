"""The offered load of a preset: 70 % of what the default config can carry on this hardware."""

from collections.abc import Callable
from dataclasses import replace

from runners import EngineError, Runner
from tuner.capacity import find_capacity
from tuner.errors import EngineTrouble
from tuner.problem import Case, Problem

SHARE_OF_CAPACITY = 0.7
SHARE_OF_SATURATION = 0.1
"""Offered where the default keeps the SLA at no rate: light enough to show which bound is why."""


def size_to_default(
    problem: Problem, runner: Runner, names: tuple[str, ...], note: Callable[[str], None]
) -> Problem:
    """The problem with the rates of the named objectives set; one launch of the default config.

    Raises:
        EngineTrouble: the default config cannot be launched.
    """
    if not names:
        return problem
    origin, config = problem.first[0]
    try:
        with runner.launch(config) as engine:
            cases = []
            for case in problem.cases:
                if case.profile.name not in names:
                    cases.append(case)
                    continue
                found = find_capacity(engine, case.workload, case.profile.sla)
                saturation = float(found.saturated.metrics["request_throughput"] or 0.0)
                rate = SHARE_OF_CAPACITY * found.capacity or SHARE_OF_SATURATION * saturation
                note(_sentence(case, rate, found.capacity))
                cases.append(replace(case, workload=case.workload.at_rate(rate)))
    except EngineError as error:
        raise EngineTrouble(
            f"The {origin} config could not be launched to size the offered load ({error}); "
            "give --request-rate to leave this out."
        ) from error
    return replace(problem, cases=tuple(cases))


def _sentence(case: Case, rate: float, capacity: float) -> str:
    if not capacity:
        return (
            f"{case.profile.name}: the default config keeps the SLA at no rate; offering "
            f"{rate:.3g} req/s, a tenth of what it serves at most."
        )
    return (
        f"{case.profile.name}: offering {rate:.3g} req/s, 70 % of the default config's capacity "
        f"of {capacity:.3g} req/s (--request-rate sets another)."
    )
