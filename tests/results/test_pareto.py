from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from objectives import Goal, Judgement, Verdict
from results.pareto import dominates, front, values
from results.record import TrialRecord

GOALS = (Goal("capacity", "capacity_per_gpu"), Goal("offered", "p95_ttft_ms"))
FAILURE = {"kind": "died", "detail": "signal 9"}

# Few values, so that ties and duplicates are common.
numbers = st.integers(0, 4).map(float)
verdicts = st.sampled_from(Verdict)


def trial(
    number: int, capacity_per_gpu: float, ttft_ms: float, verdict: Verdict = Verdict.MET
) -> TrialRecord:
    return TrialRecord(
        number=number,
        objective="chat",
        config={},
        origin="sampler",
        loads={
            "offered": {"p95_ttft_ms": ttft_ms},
            "capacity": {"capacity_per_gpu": capacity_per_gpu},
        },
        sla={"p95_ttft_ms<=500": Judgement(500.0, ttft_ms, 1.0, verdict, 0.0)},
        launch_id=number,
    )


@st.composite
def studies(draw: st.DrawFn) -> list[TrialRecord]:
    """Trials met, broken, undecided, failed, stopped and only half measured, in any order."""
    found = []
    for number, (capacity, ttft_ms, verdict, fate) in enumerate(
        draw(st.lists(st.tuples(numbers, numbers, verdicts, st.integers(0, 5)), max_size=12))
    ):
        record = trial(number, capacity, ttft_ms, verdict)
        if fate == 0:
            record = replace(record, failure=FAILURE)
        if fate == 1:
            record = replace(record, loads={"offered": record.loads["offered"]})
        if fate == 2:
            record = replace(record, stopped_early=True)
        found.append(record)
    return draw(st.permutations(found))


def valued(records: list[TrialRecord]) -> list[tuple[TrialRecord, tuple[float, ...]]]:
    return [(record, v) for record in records if (v := values(record, GOALS)) is not None]


@given(studies())
def test_members_of_the_front_do_not_dominate_each_other(records: list[TrialRecord]) -> None:
    found = [v for _, v in valued(front(records, GOALS))]
    assert not any(dominates(a, b, GOALS) for a in found for b in found)


@given(studies())
def test_whatever_meets_the_sla_and_is_not_on_the_front_is_dominated_by_a_member(
    records: list[TrialRecord],
) -> None:
    found = front(records, GOALS)
    kept = [record for record in records if record.complete and record.meets_sla]
    left_out = [v for record, v in valued(kept) if record not in found]
    members = [v for _, v in valued(found)]
    assert all(any(dominates(a, b, GOALS) for a in members) for b in left_out)


@given(studies())
def test_only_measured_trials_that_meet_the_sla_are_on_the_front(
    records: list[TrialRecord],
) -> None:
    for record in front(records, GOALS):
        assert (record.failure, record.sla["p95_ttft_ms<=500"].verdict) == (None, Verdict.MET)
        assert not record.stopped_early
        assert values(record, GOALS) is not None


@given(studies())
def test_the_front_does_not_depend_on_the_order_of_the_trials(
    records: list[TrialRecord],
) -> None:
    found = front(records, GOALS)
    assert found == sorted(found, key=lambda record: record.number)
    assert front(sorted(records, key=lambda record: -record.number), GOALS) == found


def test_more_capacity_for_a_later_first_token_is_a_matter_of_taste() -> None:
    slow, fast, worse = trial(0, 4.0, 300.0), trial(1, 3.0, 200.0), trial(2, 3.0, 250.0)
    assert front([slow, fast, worse], GOALS) == [slow, fast]


def test_equal_trials_are_on_the_front_together() -> None:
    twins = [trial(0, 3.0, 200.0), trial(1, 3.0, 200.0)]
    assert front(twins, GOALS) == twins


def test_a_trial_that_was_stopped_is_not_drawn_and_puts_nothing_in_the_shade() -> None:
    whole, stopped = trial(0, 3.0, 200.0), replace(trial(1, 4.0, 100.0), stopped_early=True)
    assert front([whole, stopped], GOALS) == [whole]


def test_a_study_without_trials_has_an_empty_front() -> None:
    assert front([], GOALS) == []
