"""The offered load of a preset: 70 % of what the default config can carry on this hardware."""

from collections.abc import Callable
from dataclasses import replace

from runners import Engine, EngineError, FailureKind, Runner
from tuner.capacity import find_capacity
from tuner.errors import EngineTrouble
from tuner.probing import NOISELESS, NOISY, Effort
from tuner.problem import Case, Problem

SHARE_OF_CAPACITY = 0.7
SHARE_OF_SATURATION = 0.1
"""Offered where the default keeps the SLA at no rate: light enough to show which bound is why."""
NEXT = frozenset({FailureKind.REFUSED, FailureKind.DOES_NOT_FIT, FailureKind.OUT_OF_MEMORY})
"""Failures that would come again: the next of the configs tried first stands in."""


def size_to_default(
    problem: Problem, runner: Runner, names: tuple[str, ...], note: Callable[[str], None]
) -> tuple[Problem, float]:
    """The problem with the rates of the named objectives set, and the engine seconds it took.

    Raises:
        EngineTrouble: nothing could be launched, or it answered nothing.
    """
    if not names:
        return problem, 0.0
    spent_s = 0.0
    effort = NOISELESS if problem.noiseless else NOISY
    for origin, config in problem.first:
        try:
            with runner.launch(config) as engine:
                cases = [_sized(c, engine, names, origin, note, effort) for c in problem.cases]
            return replace(problem, cases=tuple(cases)), spent_s + engine.age_s
        except EngineError as error:
            failed = error
            spent_s += error.engine_s
            if error.failure.kind not in NEXT:
                break
    raise EngineTrouble(
        f"No config could be launched to size the offered load ({failed}); "
        "give --request-rate to leave this out."
    ) from failed


def _sized(
    case: Case,
    engine: Engine,
    names: tuple[str, ...],
    origin: str,
    note: Callable[[str], None],
    effort: Effort,
) -> Case:
    if case.profile.name not in names:
        return case
    found = find_capacity(
        engine,
        case.draws,
        case.profile.sla,
        effort=effort,
        # The rate of a trace may be far from what this engine carries, and time is real.
        from_saturation=effort is NOISY,
    )
    saturation = float(found.saturated.metrics["request_throughput"] or 0.0)
    rate = SHARE_OF_CAPACITY * found.capacity or SHARE_OF_SATURATION * saturation
    if not rate:
        raise EngineError(FailureKind.NOTHING_COMPLETED, f"{case.profile.name}: no request")
    note(_sentence(case, origin, rate, found.capacity))
    return case.at_rate(rate)


def _sentence(case: Case, origin: str, rate: float, capacity: float) -> str:
    if not capacity:
        return (
            f"{case.profile.name}: the {origin} config keeps the SLA at no rate; offering "
            f"{rate:.3g} req/s, a tenth of what it serves at most."
        )
    return (
        f"{case.profile.name}: offering {rate:.3g} req/s, 70 % of the {origin} config's capacity "
        f"of {capacity:.3g} req/s (--request-rate sets another)."
    )
