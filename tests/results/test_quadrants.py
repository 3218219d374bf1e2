from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objectives import Judgement, Quadrant, Verdict
from results.quadrants import (
    Selection,
    best_with_ours,
    better_by,
    deciding_goal,
    over_default,
    ratio_of,
    regret,
    winner,
)
from results.record import TrialRecord
from results.ties import Ties, tied
from search_spaces import Choice, Int, Knob, SearchSpace

LIVE, INTERACTIVE, ECONOMY, BULK = Quadrant
TIE = Ties(0.01)
FAILURE = {"kind": "died", "detail": "signal 9"}
KNOBS = (
    Knob(name="max_num_seqs", default=256, domain=Int(low=1, high=1024), about="batch"),
    Knob(name="tensor_parallel_size", default=1, domain=Choice((1, 2, 4)), about="GPUs"),
    Knob(name="wait_ms", default=0, domain=Choice((0, 20)), about="wait", owner="ours"),
)
SPACE = SearchSpace(
    engine="vllm",
    knobs=KNOBS,
    searched={knob.name: knob.domain for knob in KNOBS},
    fixed={},
    derive=lambda config: {},
)
STOCK = Selection(space=SPACE, ties=TIE)
OURS = replace(STOCK, allow_ours=True)
DEFAULT = SPACE.default()
MET = Judgement(500.0, 400.0, 1.0, Verdict.MET, -0.3)


def trial(
    number: int,
    *,
    ttft_ms: float = 400.0,
    capacity_per_gpu: float | None = 2.0,
    gpus_needed: int | None = 2,
    saturated: float | None = 1000.0,
    keeps: Collection[Quadrant] = tuple(Quadrant),
    otherwise: Verdict = Verdict.BROKEN,
    config: dict[str, Any] | None = None,
    **changes: Any,
) -> TrialRecord:
    """A trial that keeps the promises of some quadrants; the capacity load is left out by None."""
    capacity = {
        "capacity_per_gpu": capacity_per_gpu,
        "gpus_needed": gpus_needed,
        "output_throughput_per_gpu": saturated,
    }
    offered = {"p95_ttft_ms": ttft_ms, "output_throughput_per_gpu": 500.0}
    measured = any(value is not None for value in capacity.values())
    fields: dict[str, Any] = {
        "objective": "chat",
        "config": {**DEFAULT, **(config or {})},
        "origin": "sampler",
        "loads": {"offered": offered, **({"capacity": capacity} if measured else {})},
        "quadrants": {
            q: {"bound": MET if q in keeps else replace(MET, verdict=otherwise)} for q in Quadrant
        },
        "launch_id": number,
    }
    return TrialRecord(number=number, **{**fields, **changes})


def offered_only(number: int, **changes: Any) -> TrialRecord:
    return trial(number, capacity_per_gpu=None, gpus_needed=None, saturated=None, **changes)


# Few values, some within a tie of each other, so that every kind of comparison is common.
amounts = st.sampled_from([0.0, 1.0, 2.0, 2.01, 3.0])
trials = st.builds(
    trial,
    number=st.just(0),
    ttft_ms=amounts.filter(bool),
    capacity_per_gpu=st.none() | amounts,
    gpus_needed=st.none() | st.integers(1, 4),
    saturated=st.none() | amounts.filter(bool),
    keeps=st.sets(st.sampled_from(Quadrant)),
    otherwise=st.sampled_from([Verdict.BROKEN, Verdict.UNDECIDED]),
    config=st.fixed_dictionaries(
        {
            "max_num_seqs": st.sampled_from([8, 256]),
            "tensor_parallel_size": st.sampled_from([1, 2]),
            "wait_ms": st.sampled_from([0, 20]),
        }
    ),
    failure=st.sampled_from([None, None, None, FAILURE]),
    launch_id=st.sampled_from([0, 0, 0, None]),
    stopped_early=st.sampled_from([False, False, False, True]),
)
studies = st.lists(trials, max_size=8).map(
    lambda found: [replace(record, number=number) for number, record in enumerate(found)]
)
quadrants = st.sampled_from(Quadrant)
selections = st.sampled_from([STOCK, OURS])


def eligible(
    records: list[TrialRecord], quadrant: Quadrant, selection: Selection
) -> list[TrialRecord]:
    return [
        r
        for r in records
        if r.answered
        and r.failure is None
        and not r.stopped_early
        and r.quadrants[quadrant]["bound"].verdict is Verdict.MET
        and (selection.allow_ours or not SPACE.needs_ours(r.config))
        and any(r.metric(goal.load, goal.metric) is not None for goal in quadrant.goals)
    ]


@given(studies, quadrants, selections)
def test_there_is_a_winner_when_any_config_that_may_win_has_a_goal_measured(
    records: list[TrialRecord], quadrant: Quadrant, selection: Selection
) -> None:
    found, pool = winner(records, quadrant, selection), eligible(records, quadrant, selection)
    assert found in pool if pool else found is None


@given(studies, quadrants, selections)
def test_no_config_that_may_win_beats_the_winner_by_more_than_a_tie_on_the_first_goal(
    records: list[TrialRecord], quadrant: Quadrant, selection: Selection
) -> None:
    best, goal = winner(records, quadrant, selection), quadrant.goals[0]
    pool = eligible(records, quadrant, selection)
    values = [v for r in pool if (v := r.metric(goal.load, goal.metric)) is not None]
    if best is None or not values:
        return
    top = max(values) if goal.direction == "maximize" else min(values)
    mine = best.metric(goal.load, goal.metric)
    assert mine is not None
    assert tied(mine, top, 0.01)


@given(studies, quadrants, selections)
def test_the_winner_does_not_depend_on_the_order_of_the_trials(
    records: list[TrialRecord], quadrant: Quadrant, selection: Selection
) -> None:
    assert winner(records[::-1], quadrant, selection) == winner(records, quadrant, selection)


@pytest.mark.parametrize("quadrant", Quadrant)
def test_a_config_whose_promise_is_broken_or_undecided_does_not_win(quadrant: Quadrant) -> None:
    others = [q for q in Quadrant if q is not quadrant]
    fast: dict[str, Any] = {
        "ttft_ms": 1.0,
        "capacity_per_gpu": 9.0,
        "gpus_needed": 1,
        "saturated": 9000.0,
    }
    broken = trial(0, keeps=others, **fast)
    undecided = trial(1, keeps=others, otherwise=Verdict.UNDECIDED, **fast)
    assert winner([broken, undecided, trial(2)], quadrant, STOCK) == trial(2)
    assert winner([broken, undecided], quadrant, STOCK) is None


@pytest.mark.parametrize("quadrant", Quadrant)
def test_neither_a_failed_nor_a_ruled_out_config_wins(quadrant: Quadrant) -> None:
    failed, ruled_out = trial(0, failure=FAILURE), trial(1, failure=FAILURE, launch_id=None)
    assert winner([failed, ruled_out], quadrant, STOCK) is None


@pytest.mark.parametrize("quadrant", Quadrant)
def test_a_trial_that_was_stopped_does_not_win(quadrant: Quadrant) -> None:
    best: dict[str, Any] = {"ttft_ms": 1.0, "capacity_per_gpu": 9.0, "gpus_needed": 1}
    stopped = trial(0, stopped_early=True, saturated=9000.0, **best)
    ours = trial(2, stopped_early=True, config={"wait_ms": 20}, saturated=9000.0, **best)
    assert winner([stopped, trial(1)], quadrant, STOCK) == trial(1)
    assert winner([stopped], quadrant, STOCK) is None
    assert best_with_ours([ours], quadrant, STOCK) is None


def test_a_finer_selection_tells_apart_by_values_what_else_is_tied() -> None:
    loose = replace(STOCK, ties=Ties(0.1))
    default, close = trial(0), trial(1, ttft_ms=380.0, config={"max_num_seqs": 8})
    assert winner([default, close], INTERACTIVE, loose) == default
    assert winner([default, close], INTERACTIVE, loose.finer(0.01)) == close
    assert loose.finer(0.01) == replace(STOCK, ties=Ties(0.01, intervals=False))
    assert STOCK.finer(0.5).ties == Ties(0.01, intervals=False)


@pytest.mark.parametrize(
    ("quadrant", "better"),
    [
        (LIVE, trial(1, capacity_per_gpu=2.5, ttft_ms=450.0, saturated=900.0)),
        (INTERACTIVE, trial(1, ttft_ms=300.0, capacity_per_gpu=1.0, gpus_needed=4)),
        (INTERACTIVE, trial(1, ttft_ms=402.0, gpus_needed=1)),
        (ECONOMY, trial(1, gpus_needed=1, capacity_per_gpu=1.0)),
        (ECONOMY, trial(1, capacity_per_gpu=2.5, ttft_ms=450.0)),
        (BULK, trial(1, saturated=1200.0, ttft_ms=450.0, capacity_per_gpu=1.0)),
    ],
)
def test_each_quadrant_asks_for_its_own_goals_in_order(
    quadrant: Quadrant, better: TrialRecord
) -> None:
    assert winner([trial(0), better], quadrant, STOCK) == better


def test_configs_within_one_per_cent_are_tied_and_the_plainest_of_them_wins() -> None:
    fastest = trial(0, ttft_ms=400.0, config={"max_num_seqs": 8, "tensor_parallel_size": 2})
    plainer = trial(1, ttft_ms=402.0, config={"max_num_seqs": 8})
    plainest = trial(2, ttft_ms=404.0)
    beyond = trial(3, ttft_ms=404.5, config={"tensor_parallel_size": 2})
    assert winner([fastest, plainer, plainest, beyond], INTERACTIVE, STOCK) == plainest
    assert winner([fastest, plainer], INTERACTIVE, STOCK) == plainer


def test_what_departs_from_a_default_that_lags_behind_the_best_must_gain_by_it() -> None:
    fastest = trial(0, ttft_ms=400.0, config={"max_num_seqs": 8, "tensor_parallel_size": 2})
    plainer = trial(1, ttft_ms=402.0, config={"max_num_seqs": 8})
    default = trial(3, ttft_ms=404.5)
    assert winner([fastest, plainer, default], INTERACTIVE, STOCK) == fastest


def test_among_configs_as_plain_as_each_other_the_first_tried_wins() -> None:
    later, first = trial(7, ttft_ms=400.0), trial(4, ttft_ms=403.0)
    assert winner([later, first], INTERACTIVE, STOCK) == first


def test_a_config_for_our_scheduler_class_wins_only_where_that_is_allowed() -> None:
    stock, ours = trial(0), trial(1, ttft_ms=200.0, config={"wait_ms": 20})
    assert winner([stock, ours], INTERACTIVE, STOCK) == stock
    assert winner([stock, ours], INTERACTIVE, OURS) == ours
    assert winner([ours], INTERACTIVE, STOCK) is None
    assert best_with_ours([stock, ours], INTERACTIVE, STOCK) == ours
    assert best_with_ours([stock], INTERACTIVE, STOCK) is None


def test_without_a_measured_capacity_only_the_goals_of_the_offered_load_have_winners() -> None:
    slow, fast = offered_only(0), offered_only(1, ttft_ms=300.0)
    found = {q: winner([slow, fast], q, STOCK) for q in Quadrant}
    assert found == {LIVE: None, INTERACTIVE: fast, ECONOMY: slow, BULK: None}


def test_a_config_that_carries_no_load_loses_to_one_whose_gpus_can_be_counted() -> None:
    idle = trial(0, capacity_per_gpu=0.0, gpus_needed=None)
    assert winner([idle, trial(1, gpus_needed=4)], ECONOMY, STOCK) == trial(1, gpus_needed=4)


@given(amounts, amounts)
def test_being_tied_is_mutual_and_everything_is_tied_with_itself(a: float, b: float) -> None:
    assert tied(a, a, 0.01)
    assert tied(a, b, 0.01) == tied(b, a, 0.01)


@given(trials, trials, quadrants)
def test_better_is_above_one_whether_the_goal_is_made_higher_or_lower(
    a: TrialRecord, b: TrialRecord, quadrant: Quadrant
) -> None:
    found, ratio = deciding_goal(a, b, quadrant, TIE), better_by(a, b, quadrant, TIE)
    if found is None or ratio is None:
        return
    goal, x, y = found
    assert (ratio > 1) == (x > y if goal.direction == "maximize" else x < y)
    back = better_by(b, a, quadrant, TIE)
    assert back is None or ratio * back == pytest.approx(1)


def test_a_first_token_in_half_the_time_is_twice_as_good() -> None:
    assert better_by(trial(0, ttft_ms=200.0), trial(1), INTERACTIVE, TIE) == 2.0
    assert better_by(trial(0, capacity_per_gpu=3.0), trial(1), LIVE, TIE) == 1.5
    assert better_by(trial(0, gpus_needed=1), trial(1), ECONOMY, TIE) == 2.0
    assert better_by(trial(0, saturated=500.0), trial(1), BULK, TIE) == 0.5


def test_a_ratio_by_one_goal_needs_it_on_both_sides() -> None:
    first_token, gpus = INTERACTIVE.goals
    quicker = trial(0, ttft_ms=200.0, gpus_needed=4)
    assert ratio_of(quicker, trial(1), first_token) == 2.0
    assert ratio_of(quicker, trial(1), gpus) == 0.5
    assert ratio_of(quicker, offered_only(1), gpus) is None
    assert ratio_of(trial(0, ttft_ms=0.0), trial(1), first_token) is None


def test_two_configs_that_carry_nothing_are_as_good_as_each_other() -> None:
    nothing = trial(0, capacity_per_gpu=0.0)
    assert better_by(nothing, nothing, LIVE, TIE) == 1.0
    assert better_by(trial(1), nothing, LIVE, TIE) is None


def test_the_goal_that_decides_is_the_first_that_tells_two_configs_apart() -> None:
    needs_one = trial(1, ttft_ms=401.0, gpus_needed=1)
    first_token, gpus = INTERACTIVE.goals
    assert deciding_goal(trial(0), trial(1), INTERACTIVE, TIE) == (first_token, 400.0, 400.0)
    assert deciding_goal(trial(0), needs_one, INTERACTIVE, TIE) == (gpus, 2, 1)
    assert deciding_goal(trial(0), offered_only(1), BULK, TIE) is None


def test_a_gain_is_told_by_the_goal_that_decides() -> None:
    first_token, gpus = INTERACTIVE.goals
    default = trial(0)
    quicker, fewer = trial(1, ttft_ms=250.0), trial(2, ttft_ms=399.0, gpus_needed=1)
    assert over_default(quicker, default, INTERACTIVE, TIE) == (first_token, 250.0, 1.6)
    assert over_default(fewer, default, INTERACTIVE, TIE) == (gpus, 1, 2.0)
    assert over_default(default, default, INTERACTIVE, TIE) == (first_token, 400.0, 1.0)


def test_without_a_default_to_compare_with_there_is_a_goal_but_no_gain() -> None:
    assert over_default(trial(1), None, BULK, TIE) == (*BULK.goals, 1000.0, None)
    assert over_default(trial(1), offered_only(0), BULK, TIE) == (*BULK.goals, 1000.0, None)


def test_a_winner_is_never_told_to_be_worse_than_a_default_that_could_have_won() -> None:
    best = trial(0, ttft_ms=400.0, gpus_needed=4)
    tied_with_best = trial(1, ttft_ms=403.5)
    default = trial(2, ttft_ms=406.0, gpus_needed=1)
    assert winner([best, tied_with_best, default], INTERACTIVE, STOCK) == tied_with_best
    found = over_default(tied_with_best, default, INTERACTIVE, TIE)
    assert found == (INTERACTIVE.goals[0], 403.5, 406.0 / 403.5)
    breaking = trial(2, ttft_ms=406.0, gpus_needed=1, keeps=())
    found = over_default(tied_with_best, breaking, INTERACTIVE, TIE)
    assert found == (INTERACTIVE.goals[1], 2, 0.5)


def test_a_winner_without_any_goal_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="that of bulk has none"):
        over_default(offered_only(0), None, BULK, TIE)


@given(studies)
def test_regret_is_nothing_on_the_diagonal_and_at_most_everything_elsewhere(
    records: list[TrialRecord],
) -> None:
    winners = {q: winner(records, q, STOCK) for q in Quadrant}
    table = regret(winners, dict.fromkeys(Quadrant, records), TIE)
    for served, row in table.items():
        best = winners[Quadrant(served)]
        assert list(row) == list(Quadrant)
        assert row[served] == (None if best is None else 0.0)
        for config_of, loss in row.items():
            other = winners[Quadrant(config_of)]
            assert loss is None or 0 <= loss <= 1
            if best is None or other is None or not other.serves(Quadrant(served)):
                assert loss is None


def test_regret_is_what_is_lost_and_null_where_the_promise_would_break() -> None:
    quick = trial(0, ttft_ms=200.0, capacity_per_gpu=1.5, gpus_needed=4, saturated=700.0)
    strong = trial(
        1, ttft_ms=250.0, capacity_per_gpu=2.0, saturated=1000.0, keeps={LIVE, ECONOMY, BULK}
    )
    winners = {q: winner([quick, strong], q, STOCK) for q in Quadrant}
    assert winners == {LIVE: strong, INTERACTIVE: quick, ECONOMY: strong, BULK: strong}
    nothing = {LIVE: 0.0, ECONOMY: 0.0, BULK: 0.0}
    assert regret(winners, {q: [quick, strong] for q in Quadrant}, TIE) == {
        LIVE: {**nothing, INTERACTIVE: 0.25},
        INTERACTIVE: {LIVE: None, INTERACTIVE: 0.0, ECONOMY: None, BULK: None},
        ECONOMY: {**nothing, INTERACTIVE: 0.5},
        BULK: {**nothing, INTERACTIVE: pytest.approx(0.3)},
    }


def test_regret_compares_trials_of_the_same_number_on_the_served_traffic() -> None:
    rag = [trial(0, capacity_per_gpu=4.0), trial(1, capacity_per_gpu=1.0)]
    chat = [trial(0, ttft_ms=300.0), trial(1, ttft_ms=240.0)]
    winners: dict[Quadrant, TrialRecord | None] = {LIVE: rag[0], INTERACTIVE: chat[1]}
    assert regret(winners, {LIVE: rag, INTERACTIVE: chat}, TIE) == {
        LIVE: {LIVE: 0.0, INTERACTIVE: 0.75},
        INTERACTIVE: {LIVE: pytest.approx(0.2), INTERACTIVE: 0.0},
    }


def test_the_regret_of_the_default_is_what_the_pairs_showed_not_what_the_search_could_tell() -> (
    None
):
    default = replace(trial(0, ttft_ms=100.0), origin="default")
    best = trial(1, ttft_ms=99.9)
    winners: dict[Quadrant, TrialRecord | None] = {INTERACTIVE: best, BULK: default}
    served: dict[Quadrant, Sequence[TrialRecord]] = {
        INTERACTIVE: [default, best],
        BULK: [default, best],
    }
    assert regret(winners, served, TIE) == {
        INTERACTIVE: {INTERACTIVE: 0.0, BULK: 0.0},
        BULK: {INTERACTIVE: 0.0, BULK: 0.0},
    }
    assert regret(winners, served, TIE, {INTERACTIVE: 1.25}) == {
        INTERACTIVE: {INTERACTIVE: 0.0, BULK: pytest.approx(0.2)},
        BULK: {INTERACTIVE: 0.0, BULK: 0.0},
    }


def test_regret_is_null_where_a_config_was_not_measured_on_the_served_traffic() -> None:
    winners: dict[Quadrant, TrialRecord | None] = {LIVE: trial(0), BULK: trial(1)}
    assert regret(winners, {LIVE: [trial(0)], BULK: [trial(0), trial(1)]}, TIE) == {
        LIVE: {LIVE: 0.0, BULK: None},
        BULK: {LIVE: 0.0, BULK: 0.0},
    }


def test_a_winner_that_carries_nothing_has_no_regret_over_itself() -> None:
    nothing = trial(0, capacity_per_gpu=0.0)
    assert regret({LIVE: nothing}, {LIVE: [nothing]}, TIE) == {LIVE: {LIVE: 0.0}}
