import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from optuna.trial import TrialState

from objectives import Judgement, Verdict
from results.pareto import values
from results.record import TrialRecord
from tests.tuner.conftest import TRAFFIC, MakeLoop
from tuner import tell
from tuner.options import Options
from tuner.problem import Problem
from tuner.sampler import ask
from tuner.spec import problem_of, resolve
from tuner.study import Loop

FAILURE = {"kind": "refused", "detail": "said so"}


def failed(loop: Loop, number: int) -> list[TrialRecord]:
    return [
        TrialRecord(
            number=number,
            objective=case.profile.name,
            config=loop.problem.space.default(),
            origin="sampler",
            failure=FAILURE,
        )
        for case in loop.problem.cases
    ]


def test_a_failure_is_told_the_worst_of_each_value_measured_on_the_same_traffic(
    make_loop: MakeLoop,
) -> None:
    loop = make_loop(objective="all", trials=4)
    loop.run()
    for case, record in zip(loop.problem.cases, failed(loop, 4), strict=True):
        goals = case.profile.values(capacity=True)
        mine = [r for r in loop.records if r.objective == case.profile.name]
        # Of a trial that was stopped the capacity is not known.
        whole = [found for r in mine if (found := values(r, goals)) is not None]
        columns = zip(*whole, strict=True)
        worst = [
            (min if goal.direction == "maximize" else max)(column)
            for goal, column in zip(goals, columns, strict=True)
        ]
        constraints = {bound.name: 3.0 for bound in case.profile.sla}
        assert tell.told(loop.problem, case, record, loop.records) == (worst, constraints)


def test_what_earlier_failures_were_told_is_no_measurement(make_loop: MakeLoop) -> None:
    loop = make_loop()
    case, earlier = loop.problem.cases[0], failed(loop, 0)
    found, _ = tell.told(loop.problem, case, failed(loop, 1)[0], earlier)
    assert found == [tell.WORST["maximize"], tell.WORST["minimize"]]


def test_a_trial_told_twice_is_told_once(make_loop: MakeLoop) -> None:
    loop = make_loop(objective="all")
    asked = loop.studies[0]
    trial, _, _ = ask(asked, loop.problem, [], loop.selection)
    kept = failed(loop, trial.number)
    # Cut off before the asking study was told, the others have the trial already.
    tell.tell(loop.studies, asked, trial.number, kept, [], loop.problem)
    with pytest.raises(ValueError, match="Cannot tell a COMPLETE trial"):
        tell.tell(loop.studies, asked, trial.number, kept, [], loop.problem)
    assert [len(study.trials) for study in loop.studies] == [1, 1, 1, 1]


def test_a_trial_of_which_nothing_is_known_keeps_the_numbers_in_step(make_loop: MakeLoop) -> None:
    loop = make_loop(objective="all")
    asked = loop.studies[2]
    trial, _, _ = ask(asked, loop.problem, [], loop.selection)
    tell.fail(loop.studies, asked, trial.number)
    states = [[t.state for t in study.trials] for study in loop.studies]
    assert states == [[TrialState.FAIL]] * 4


@cache
def problem(objective: str = "chat", **options: Any) -> Problem:
    """Offered four requests a second, on four GPUs."""
    spec, flows = resolve(Options(**{"objective": objective, **TRAFFIC, **options}))
    return problem_of(spec, tuple(flow.workload for flow in flows))


def judged(verdict: Verdict, excess: float = 0.5) -> dict[str, Judgement]:
    """In the order of their names."""
    kept = Judgement(40.0, 30.0, 1.0, Verdict.MET, -0.4)
    return {"p95_tpot_ms<=40": kept, "p95_ttft_ms<=500": Judgement(500, 700, 0.9, verdict, excess)}


def probe(level: float, holds: bool) -> dict[str, Any]:
    return {"level": level, "holds": holds}


def trial(
    number: int = 0,
    *,
    ttft_ms: float | None = 400.0,
    capacity_per_gpu: float | None = 2.0,
    verdict: Verdict = Verdict.MET,
    **changes: Any,
) -> TrialRecord:
    capacity = {"capacity_per_gpu": capacity_per_gpu, "output_throughput_per_gpu": 100.0}
    fields: dict[str, Any] = {
        "objective": "chat",
        "config": {},
        "origin": "sampler",
        "loads": {"offered": {"p95_ttft_ms": ttft_ms}, "capacity": capacity},
        "sla": judged(verdict),
        "launch_id": number,
    }
    return TrialRecord(number=number, **{**fields, **changes})


def stopped(
    *probes: dict[str, Any],
    ttft_ms: float | None = 300.0,
    verdict: Verdict = Verdict.MET,
    **capacity: Any,
) -> TrialRecord:
    """Of the capacity load there is what it came to, if it came to that."""
    loads: dict[str, Any] = {"offered": {"p95_ttft_ms": ttft_ms}}
    if probes or capacity:
        loads["capacity"] = {"probes": [*probes], **capacity}
    return trial(9, verdict=verdict, loads=loads, stopped_early=True, why_stopped="said so")


def told(
    record: TrialRecord, *earlier: TrialRecord, of: Problem | None = None
) -> tuple[list[float], dict[str, float]]:
    asked = of or problem()
    return tell.told(asked, asked.cases[0], record, earlier)


@pytest.mark.parametrize(
    ("record", "values"),
    [
        # Held at 4 req/s and 5, not at 6: it carries some 5.48 on four GPUs.
        (stopped(probe(5.0, True), probe(6.0, False)), [math.sqrt(30) / 4, 400.0]),
        # The best carries 2 per GPU: a trial that was stopped is never told to carry more.
        (stopped(probe(9.0, True), probe(12.0, False)), [2.0, 400.0]),
        # Held where it was offered: it carries that much at least.
        (stopped(), [4.0 / 4, 400.0]),
        (stopped(probe(6.0, False)), [math.sqrt(24) / 4, 400.0]),
        # Not even there: between that and half of it.
        (stopped(verdict=Verdict.BROKEN, ttft_ms=900.0), [math.sqrt(8) / 4, 900.0]),
        (stopped(verdict=Verdict.UNDECIDED, ttft_ms=None), [math.sqrt(8) / 4, 400.0]),
        (stopped(probe(3.0, False), verdict=Verdict.BROKEN), [math.sqrt(4.5) / 4, 400.0]),
        (stopped(probe(1.0, True), probe(3.0, False)), [math.sqrt(3) / 4, 400.0]),
    ],
)
def test_a_trial_that_was_stopped_is_told_what_it_came_to_but_nothing_better_than_the_best(
    record: TrialRecord, values: list[float]
) -> None:
    found, constraints = told(record, trial(0), trial(1, ttft_ms=500.0, capacity_per_gpu=1.5))
    assert found == pytest.approx(values)
    assert list(constraints.items()) == [(name, j.excess) for name, j in record.sla.items()]


def test_neither_what_breaks_the_promise_nor_what_was_stopped_or_failed_is_the_best() -> None:
    better: dict[str, Any] = {"ttft_ms": 100.0, "capacity_per_gpu": 9.0}
    others = [
        trial(1, verdict=Verdict.BROKEN, **better),
        trial(2, verdict=Verdict.UNDECIDED, **better),
        trial(3, stopped_early=True, **better),
        trial(4, failure=FAILURE, **better),
        trial(5, objective="rag", **better),
    ]
    record = stopped(probe(20.0, True), probe(30.0, False), ttft_ms=50.0)
    assert told(record, trial(0), *others)[0] == [2.0, 400.0]


def test_before_any_config_keeps_the_promise_what_a_trial_came_to_is_told() -> None:
    record = stopped(verdict=Verdict.BROKEN, ttft_ms=900.0)
    broken = trial(0, verdict=Verdict.BROKEN)
    assert told(record, broken)[0] == pytest.approx([math.sqrt(8) / 4, 900.0])
    nothing = stopped(verdict=Verdict.BROKEN, ttft_ms=None)
    assert told(nothing, broken)[0] == pytest.approx([math.sqrt(8) / 4, 400.0])
    assert told(nothing)[0] == pytest.approx([math.sqrt(8) / 4, tell.WORST["minimize"]])


def test_in_a_closed_loop_nothing_is_said_of_a_rate() -> None:
    closed = problem(request_rate=None, concurrency=4)
    record = stopped(output_throughput_per_gpu=80.0)
    assert told(record, trial(0), of=closed)[0] == [2.0, 400.0]


def test_a_bulk_trial_that_was_stopped_is_told_its_throughput_or_the_best_one() -> None:
    def bulk(record: TrialRecord, e2el_ms: float) -> TrialRecord:
        loads = {**record.loads, "offered": {"p95_e2el_ms": e2el_ms}}
        return replace(record, objective="summarize", loads=loads)

    for throughput, said in ((80.0, 80.0), (140.0, 100.0)):
        record = bulk(stopped(output_throughput_per_gpu=throughput), 9000.0)
        best = bulk(trial(0), 4000.0)
        assert told(record, best, of=problem("summarize"))[0] == [said, 9000.0]


numbers = st.none() | st.just(0.0) | st.floats(0.01, 100)
verdicts = st.sampled_from(Verdict)
earlier = st.lists(
    st.builds(
        trial,
        number=st.integers(0, 50),
        ttft_ms=st.none() | st.floats(1, 1e5),
        capacity_per_gpu=numbers,
        verdict=verdicts,
        stopped_early=st.booleans(),
        failure=st.sampled_from([None, None, FAILURE]),
    ),
    max_size=6,
)
probes = st.lists(st.builds(probe, st.floats(0.1, 100), st.booleans()), max_size=4)


@given(earlier, probes, st.none() | st.floats(1, 1e5), verdicts)
@example([trial(0, capacity_per_gpu=0.0)], [], None, Verdict.MET)
def test_what_a_stopped_trial_is_told_is_never_better_than_the_best_complete_one(
    records: Sequence[TrialRecord],
    probed: list[dict[str, Any]],
    ttft_ms: float | None,
    verdict: Verdict,
) -> None:
    record = stopped(*probed, ttft_ms=ttft_ms, verdict=verdict)
    (capacity, first_ms), constraints = told(record, *records)
    kept = [r for r in records if r.complete and r.meets_sla]
    capacities = [c for r in kept if (c := r.metric("capacity", "capacity_per_gpu")) is not None]
    ttfts_ms = [t for r in kept if (t := r.metric("offered", "p95_ttft_ms")) is not None]
    assert capacity <= max(capacities, default=math.inf)
    assert first_ms >= min(ttfts_ms, default=0.0)
    assert math.isfinite(capacity)
    assert math.isfinite(first_ms)
    assert [*constraints] == [bound.name for bound in problem().cases[0].profile.sla]


@pytest.mark.parametrize("objective", ["chat", "all"])
def test_the_constraints_are_also_where_a_dashboard_shows_them(
    objective: str, make_loop: MakeLoop
) -> None:
    loop = make_loop(objective=objective, trials=3)
    loop.run()
    told = [trial for study in loop.studies for trial in study.trials]
    assert [trial.user_attrs["sla"] for trial in told] == [trial.constraints for trial in told]
    names = [bound.name for bound in loop.problem.cases[0].profile.sla]
    assert list(told[0].user_attrs["sla"]) == names
