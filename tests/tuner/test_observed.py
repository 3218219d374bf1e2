"""What whoever shows a study is told of each load, and that the measurement stays the same."""

from dataclasses import dataclass, field, replace

import pytest

from objectives import Load, Request, RequestResult, Workload
from objectives.sequential import MissCount
from objectives.sla import parse_sla
from runners.replay import DESCRIPTION, ReplayRunner
from tests.tuner.engines import in_line, run
from tuner.observed import Observed
from tuner.progress.silent import Silent

WORKLOAD = Workload(name="chat", requests=tuple(Request(float(i), 8, 2) for i in range(20)))
LOAD = Load(workload=WORKLOAD, purpose="offered")


@dataclass
class Audience(Silent):
    loads: list[Load] = field(default_factory=list)
    results: list[RequestResult] = field(default_factory=list)

    def measuring(self, load: Load) -> None:
        self.loads.append(load)

    def heard(self, result: RequestResult) -> None:
        self.results.append(result)


def runner(*, simulated: bool, most: float = 0.5) -> ReplayRunner:
    """Serves so many requests a second, and lets a load's own watch end its run."""
    return ReplayRunner(
        measurements=lambda config, load: run(load, in_line(load.workload, most)),
        description=replace(DESCRIPTION, simulated=simulated),
    )


def test_of_a_real_engine_every_request_is_told_as_it_finishes() -> None:
    shown, plain = Audience(), runner(simulated=False)
    with Observed(plain, shown).launch({}) as engine, plain.launch({}) as alone:
        found = engine.measure(LOAD)
        assert found == alone.measure(LOAD)
        assert (engine.age_s, engine.fresh) == (alone.age_s, alone.fresh)
    # Once as it is asked for, warming up included, and once as its requests are sent.
    assert shown.loads == [LOAD, LOAD]
    assert shown.results == list(found.results)


def test_of_a_simulated_engine_the_load_alone_is_told() -> None:
    shown = Audience()
    with Observed(runner(simulated=True), shown).launch({}) as engine:
        engine.measure(LOAD)
    assert (shown.loads, shown.results) == ([LOAD], [])


@pytest.mark.parametrize("most", [0.5, 2.0])
def test_the_runs_own_watch_still_ends_it(most: float) -> None:
    bounds = parse_sla("p95_ttft_ms<=1500")
    watched = replace(LOAD, watch=lambda: MissCount(bounds, len(WORKLOAD.requests)))
    shown, plain = Audience(), runner(simulated=False, most=most)
    with Observed(plain, shown).launch({}) as engine, plain.launch({}) as alone:
        found = engine.measure(watched)
        assert found == alone.measure(watched)
    assert (len(found.completed) < len(WORKLOAD.requests)) == (most == 0.5)


def test_a_run_that_begins_again_is_told_anew() -> None:
    shown = Audience()
    made: list[Load] = []

    def late_once(config: object, load: Load) -> object:
        made.append(load)
        assert load.watch
        load.watch()
        return run(load, in_line(load.workload, 2.0))

    late = ReplayRunner(measurements=late_once, description=replace(DESCRIPTION, simulated=False))  # type: ignore[arg-type]
    with Observed(late, shown).launch({}) as engine:
        engine.measure(LOAD)
    assert shown.loads == [LOAD, LOAD, LOAD]
