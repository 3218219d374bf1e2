"""How near the capacity found on a noisy engine comes to the truth, and for how many requests.

    python -m benchmarks.capacity_accuracy [--configs 5] [--runs 20] [--out JSON]

The engine is the simulated one, its runs made noisy (`noisy.py`); the truth is what the same
search finds without noise, at its finest. Each search begins as a trial's does: with the run at
the offered load, 70 % of the default config's capacity, as its first probe. Prints JSON.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from benchmarks.known_runs import KnownRuns
from benchmarks.machine import options, publish
from benchmarks.noisy import Noise, NoisyRunner
from benchmarks.noisy_studies import studies
from runners import EngineError, Runner
from search_spaces import Choice, Config, Value
from search_spaces.space import Domain
from tuner.capacity import search
from tuner.probing import NOISELESS, NOISY, Effort, Prober, latency_bounds, offered_load
from tuner.problem import Case, Problem

OF_RUN = (0.03, 0.06)
WITHIN = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One search."""

    relative_error: float
    probes: int
    cost: float
    """Requests of all probes over those of one."""
    covered: bool | None
    """Whether the truth lies between the surest levels; ``None`` where there are none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A config of a study, with its true capacity."""

    study: str
    problem: Problem
    config: Config
    truth: float


def settings(runner: Runner, problem: Problem, study: str, count: int) -> Iterator[Setting]:
    """The default config and random others that can be served and carry something."""
    space, case = problem.space, problem.cases[0]
    rng = random.Random(study)
    wanted = [space.default()]
    while len(wanted) < 4 * count:
        wanted.append(space.complete({n: _any(d, rng) for n, d in space.searched.items()}))
    found = 0
    for config in wanted:
        if space.broken_rules(config) or config.get("batch_wait_timeout_ms"):
            continue
        try:
            truth = _searched(runner, case, config, NOISELESS)[0]
        except EngineError:
            continue
        if truth and found < count:
            found += 1
            yield Setting(study=study, problem=problem, config=config, truth=truth)


def _any(domain: Domain, rng: random.Random) -> Value:
    if isinstance(domain, Choice):
        return rng.choice(domain.values)
    return domain.nearest(rng.uniform(domain.low, domain.high))


def _searched(
    runner: Runner, case: Case, config: Config, effort: Effort
) -> tuple[float, Prober, tuple[float, float] | None]:
    with runner.launch(config) as engine:
        offered = None
        if effort.noisy:
            offered = engine.measure(offered_load(case.workload, case.profile.sla))
        prober = Prober(
            engine=engine,
            draws=case.draws,
            bounds=latency_bounds(case.profile.sla),
            effort=effort,
            offered=offered,
        )
        saturated = offered or engine.measure(offered_load(case.workload, case.profile.sla))
        found = search(prober, saturated)
    return found.capacity, prober, found.interval


def searched(runs: KnownRuns, setting: Setting, noise: Noise, seed: int) -> Found:
    case = setting.problem.cases[0]
    runner = NoisyRunner(runs, noise, seed=seed)
    capacity, prober, interval = _searched(runner, case, setting.config, NOISY)
    return Found(
        relative_error=capacity / setting.truth - 1,
        probes=len(prober.probes),
        cost=prober.spent,
        covered=interval and interval[0] <= setting.truth <= interval[1],
    )


def summary(found: Sequence[Found]) -> dict[str, Any]:
    errors = sorted(abs(f.relative_error) for f in found)
    costs = sorted(f.cost for f in found)
    covered = [f.covered for f in found if f.covered is not None]
    return {
        "searches": len(found),
        "within_5_percent": sum(error <= WITHIN for error in errors) / len(errors),
        "median_error": median(errors),
        "p90_error": errors[int(0.9 * (len(errors) - 1))],
        "bias": sum(f.relative_error for f in found) / len(found),
        "median_cost": median(costs),
        "p90_cost": costs[int(0.9 * (len(costs) - 1))],
        "largest_cost": costs[-1],
        "truth_inside_interval": sum(covered) / len(covered) if covered else None,
    }


def measure(configs: int, runs_each: int) -> Iterator[dict[str, Any]]:
    for study in studies():
        tried = list(settings(study.runner, study.problem, study.name, configs))
        for of_run in OF_RUN:
            noise = Noise(of_run=of_run)
            found = [
                searched(study.runs, setting, noise, seed)
                for setting in tried
                for seed in range(runs_each)
            ]
            yield {"study": study.name, "noise": asdict(noise), **summary(found)}


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--configs", type=int, default=5, help="of each study")
    parser.add_argument("--runs", type=int, default=20, help="searches of each config")
    asked = parser.parse_args()
    publish(lambda: {"rows": list(measure(asked.configs, asked.runs))}, asked.out)


if __name__ == "__main__":
    main()
