from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import exp, inf
from typing import Any

import pytest

from objectives import Goal, Judgement, Quadrant, Verdict
from objectives.quadrant import CAPACITY, FIRST_TOKEN, GPUS
from results.comparison import Comparison
from results.confirmation import (
    DEFAULT,
    Confirmation,
    Finalist,
    Outcome,
    confirm,
    elected,
    finalists,
)
from results.quadrants import Selection, winner
from results.record import TrialRecord
from results.ties import Ties
from search_spaces import Choice, Int, Knob, SearchSpace

LIVE, INTERACTIVE, ECONOMY, BULK = Quadrant
KNOBS = (
    Knob(name="max_num_seqs", default=256, domain=Int(low=1, high=1024), about="batch"),
    Knob(name="wait_ms", default=0, domain=Choice((0, 20)), about="wait", owner="ours"),
)
SPACE = SearchSpace(
    engine="vllm",
    knobs=KNOBS,
    searched={knob.name: knob.domain for knob in KNOBS},
    fixed={},
    derive=lambda config: {},
)
NOISY = Selection(space=SPACE, ties=Ties(0.1))
MET = Judgement(500.0, 400.0, 1.0, Verdict.MET, -0.3)
FAILURE = {"kind": "refused", "detail": "no such flag"}
FIRST = Finalist(quadrant=INTERACTIVE, objective="chat", trial=7, goal=FIRST_TOKEN)
MOST = Finalist(quadrant=LIVE, objective="chat", trial=8, goal=CAPACITY)
TWICE = Comparison(ratio=2.0, low=2.0, high=2.0, p_value=0.0, pairs=5)


def record(
    number: int,
    *,
    ttft_ms: float = 400.0,
    capacity_per_gpu: float = 2.0,
    gpus_needed: int = 2,
    verdict: Verdict = Verdict.MET,
    seqs: int = 256,
    **changes: Any,
) -> TrialRecord:
    fields: dict[str, Any] = {
        "objective": "chat",
        "config": {"max_num_seqs": seqs, "wait_ms": 0},
        "origin": "default" if number == 0 else "sampler",
        "loads": {
            "offered": {"p95_ttft_ms": ttft_ms},
            "capacity": {"capacity_per_gpu": capacity_per_gpu, "gpus_needed": gpus_needed},
        },
        "quadrants": {q: {"bound": replace(MET, verdict=verdict)} for q in Quadrant},
        "launch_id": number,
    }
    return TrialRecord(number=number, **{**fields, **changes})


def runs(
    arm: str, number: int, ttfts_ms: Sequence[float] = (400.0,) * 5, **changes: Any
) -> list[TrialRecord]:
    """Of one arm, one in each pair."""
    return [
        record(number, ttft_ms=ttft_ms, origin="confirm", arm=arm, pair=pair, **changes)
        for pair, ttft_ms in enumerate(ttfts_ms)
    ]


def against_default(*ttfts_ms: float, **changes: Any) -> list[TrialRecord]:
    """Runs of the default at 400 ms, and of trial 7."""
    return [*runs(DEFAULT, 0), *runs("trial 7", 7, ttfts_ms, **changes)]


def slower_by(*per_cent: float) -> list[float]:
    return [400.0 * exp(-number / 100) for number in per_cent]


def outcome(found: Sequence[TrialRecord]) -> tuple[Outcome, int, int]:
    (confirmed,) = confirm([FIRST], found)
    return confirmed.outcome, confirmed.kept, confirmed.runs


def test_the_best_of_a_quadrant_is_a_finalist_by_what_it_looked_better_by() -> None:
    best = record(7, ttft_ms=380.0, seqs=64)
    more = record(8, ttft_ms=500.0, capacity_per_gpu=3.0, gpus_needed=1, seqs=32)
    served_by = {q: [record(0), best, more] for q in Quadrant}
    assert finalists(served_by, NOISY) == [
        Finalist(quadrant=LIVE, objective="chat", trial=8, goal=CAPACITY),
        Finalist(quadrant=INTERACTIVE, objective="chat", trial=7, goal=FIRST_TOKEN),
        Finalist(quadrant=ECONOMY, objective="chat", trial=8, goal=GPUS),
    ]


def test_a_finalist_may_look_better_by_less_than_winners_are_tied() -> None:
    intervals = {"intervals": {"p95_ttft_ms": [300.0, 500.0]}}
    default, best = (
        record(n, seqs=seqs, loads={"offered": {"p95_ttft_ms": ttft, **intervals}})
        for n, seqs, ttft in ((0, 256, 400.0), (7, 64, 392.0))
    )
    served_by = {INTERACTIVE: [default, best]}
    assert winner([default, best], INTERACTIVE, NOISY) is default
    assert finalists(served_by, NOISY) == [FIRST]


def test_what_is_tied_by_the_first_goal_looked_better_by_the_second() -> None:
    fewer = record(7, ttft_ms=398.0, gpus_needed=1, seqs=64)
    assert finalists({INTERACTIVE: [record(0), fewer]}, NOISY) == [replace(FIRST, goal=GPUS)]


@pytest.mark.parametrize(
    "default",
    [record(0, failure=FAILURE), record(0, stopped_early=True), record(1)],
    ids=["failed", "stopped", "none"],
)
def test_without_a_default_a_finalist_is_better_by_the_quadrants_first_goal(
    default: TrialRecord,
) -> None:
    served_by = {INTERACTIVE: [default, record(7, ttft_ms=100.0, seqs=64)]}
    assert finalists(served_by, NOISY) == [FIRST]


@pytest.mark.parametrize(
    "others",
    [
        [],
        [record(7, seqs=64)],
        [record(7, ttft_ms=100.0, seqs=64, verdict=Verdict.BROKEN)],
        [record(7, ttft_ms=100.0, seqs=64, stopped_early=True)],
    ],
    ids=["alone", "not better", "broken", "stopped"],
)
def test_where_the_default_is_best_there_is_no_finalist(others: list[TrialRecord]) -> None:
    assert finalists({INTERACTIVE: [record(0), *others]}, NOISY) == []


def test_the_default_is_no_finalist_where_the_user_has_set_a_knob() -> None:
    mine = replace(NOISY, space=SPACE.fix("max_num_seqs", 64))
    default, other = record(0, seqs=64), record(7, seqs=64, ttft_ms=500.0)
    assert finalists({INTERACTIVE: [default, other]}, mine) == []
    assert winner([default, other], INTERACTIVE, mine) is default


def test_a_finalist_that_is_better_in_every_pair_gains() -> None:
    assert confirm([FIRST], against_default(*[200.0] * 5)) == [
        Confirmation(
            finalist=FIRST,
            outcome="gain",
            comparison=TWICE,
            p_holm=0.0,
            kept=5,
            runs=5,
            modes={},
        )
    ]


def test_a_comparison_is_of_the_same_pairs_and_by_the_finalists_own_goal() -> None:
    mine = [
        *runs("trial 8", 8, capacity_per_gpu=3.0)[1:],
        *runs("trial 8", 8, capacity_per_gpu=9.0, objective="rag"),
    ]
    theirs = runs(DEFAULT, 0, capacity_per_gpu=2.0)[:4]
    (found,) = confirm([MOST], [*mine, *theirs])
    assert found.comparison == Comparison(ratio=1.5, low=1.5, high=1.5, p_value=0.0, pairs=3)
    assert (found.kept, found.runs) == (4, 4)


@pytest.mark.parametrize(
    ("ttfts_ms", "said"),
    [
        ([200.0] * 5, "gain"),
        ([800.0] * 5, "loss"),
        ([390.0, 410.0, 380.0, 420.0, 400.0], "no significant gain"),
        ([200.0, 500.0, 200.0, 500.0, 200.0], "no significant gain"),
        ([400.0] * 5, "no significant gain"),
        ([200.0] * 2, "gain"),
        ([200.0], "not measured"),
        ([], "not measured"),
    ],
)
def test_the_pairs_say_whether_there_is_a_gain(ttfts_ms: list[float], said: Outcome) -> None:
    assert outcome(against_default(*ttfts_ms)) == (said, len(ttfts_ms), len(ttfts_ms))


def test_what_is_significant_alone_may_not_be_beside_another() -> None:
    # Mean log 0.0236, standard error 0.00707: t 3.34 on four degrees of freedom, p 0.029.
    ttfts_ms = slower_by(0.36, 1.36, 2.36, 3.36, 4.36)
    found = against_default(*ttfts_ms)
    (alone,) = confirm([FIRST], found)
    assert alone.outcome == "gain"
    assert alone.p_holm == pytest.approx(0.0289, abs=0.0002)
    other = replace(FIRST, quadrant=ECONOMY)
    both = confirm([FIRST, other], found)
    assert [c.outcome for c in both] == ["no significant gain"] * 2
    assert [c.p_holm for c in both] == pytest.approx([2 * (alone.p_holm or inf)] * 2)
    # Beside one that is beyond doubt it has to pass its own 0.05 only.
    surely = confirm([FIRST, MOST], [*found, *runs("trial 8", 8, capacity_per_gpu=3.0)])
    assert [c.outcome for c in surely] == ["gain", "gain"]
    assert surely[0].p_holm == alone.p_holm


def test_a_quadrant_without_a_comparison_costs_the_others_nothing() -> None:
    nothing = replace(FIRST, quadrant=ECONOMY, trial=9)
    first, second = confirm([nothing, FIRST], against_default(*[200.0] * 5))
    assert (first.outcome, first.comparison, first.p_holm, first.runs) == (
        "not measured",
        None,
        None,
        0,
    )
    assert (second.outcome, second.p_holm) == ("gain", 0.0)


def with_verdicts(*verdicts: Verdict) -> list[TrialRecord]:
    found = [
        record(7, ttft_ms=200.0, origin="confirm", arm="trial 7", pair=pair, verdict=verdict)
        for pair, verdict in enumerate(verdicts)
    ]
    return [*runs(DEFAULT, 0), *found]


@pytest.mark.parametrize(
    ("verdicts", "said"),
    [
        ([Verdict.MET] * 3 + [Verdict.BROKEN] * 2, ("gain", 3, 5)),
        ([Verdict.MET] * 2 + [Verdict.BROKEN] * 3, ("breaks its SLA", 2, 5)),
        ([Verdict.UNDECIDED] * 5, ("gain", 5, 5)),
        ([Verdict.MET, Verdict.BROKEN], ("gain", 1, 2)),
        ([Verdict.BROKEN], ("breaks its SLA", 0, 1)),
    ],
)
def test_a_gain_needs_the_promise_kept_in_half_of_the_runs(
    verdicts: list[Verdict], said: tuple[Outcome, int, int]
) -> None:
    assert outcome(with_verdicts(*verdicts)) == said


def failed(arm: str, number: int) -> list[TrialRecord]:
    return runs(arm, number, failure=FAILURE, loads={}, quadrants={})


def test_a_finalist_whose_file_starts_no_engine_keeps_no_promise() -> None:
    assert outcome([*runs(DEFAULT, 0), *failed("trial 7", 7)]) == ("breaks its SLA", 0, 5)


def test_without_the_default_in_a_pair_there_is_nothing_to_compare_with() -> None:
    mine = runs("trial 7", 7, [200.0] * 5)
    assert outcome([*failed(DEFAULT, 0), *mine]) == ("not measured", 5, 5)


def test_modes_of_the_engine_are_compared_with_the_default_by_the_same_goal() -> None:
    modes = [
        *runs("performance_mode throughput", 0, [800.0] * 5),
        *runs("performance_mode interactivity", 0, [200.0] * 5),
        *runs("performance_mode unknown", 0, [200.0]),
    ]
    (found,) = confirm([FIRST], [*against_default(*[400.0] * 5), *modes])
    half = replace(TWICE, ratio=0.5, low=0.5, high=0.5)
    assert found.modes == {
        "performance_mode interactivity": TWICE,
        "performance_mode throughput": half,
    }


def confirmation(outcome: Outcome, trial: int = 7) -> Confirmation:
    finalist = replace(FIRST, trial=trial)
    return Confirmation(
        finalist=finalist,
        outcome=outcome,
        comparison=None,
        p_holm=None,
        kept=0,
        runs=0,
        modes={},
    )


BEST = record(7, ttft_ms=200.0, seqs=64)


@pytest.mark.parametrize(
    ("said", "keeps", "wins"),
    [
        ("gain", Verdict.MET, 7),
        ("no significant gain", Verdict.MET, 0),
        ("loss", Verdict.MET, 0),
        ("breaks its SLA", Verdict.MET, 0),
        ("not measured", Verdict.MET, 7),
        ("gain", Verdict.BROKEN, 7),
        ("no significant gain", Verdict.BROKEN, 7),
        ("loss", Verdict.UNDECIDED, 7),
        ("breaks its SLA", Verdict.BROKEN, 7),
    ],
)
def test_a_finalist_wins_by_its_gain_or_where_the_default_will_not_do(
    said: Outcome, keeps: Verdict, wins: int
) -> None:
    records = [record(0, verdict=keeps), BEST]
    found = elected(records, INTERACTIVE, NOISY, {INTERACTIVE: confirmation(said)})
    assert found is records[1 if wins else 0]


def test_before_finalists_are_fixed_the_best_of_the_search_wins() -> None:
    close = record(7, ttft_ms=380.0, seqs=64)
    assert elected([record(0), close], INTERACTIVE, NOISY, None) == record(0)
    assert elected([record(0), BEST], INTERACTIVE, NOISY, None) is BEST


def test_a_quadrant_without_a_finalist_keeps_what_was_best_already() -> None:
    known: Mapping[Quadrant, Confirmation] = {LIVE: confirmation("gain")}
    assert elected([record(0)], INTERACTIVE, NOISY, known) == record(0)
    assert elected([], INTERACTIVE, NOISY, known) is None


def test_what_was_found_is_told_as_json() -> None:
    modes = runs("performance_mode throughput", 0, [800.0] * 5)
    (found,) = confirm([FIRST], [*against_default(*[200.0] * 5), *modes])
    ratio = {"ratio": 2.0, "low": 2.0, "high": 2.0, "p_value": 0.0, "pairs": 5}
    assert found.to_json() == {
        "trial": 7,
        "objective": "chat",
        "goal": "p95_ttft_ms",
        "outcome": "gain",
        **ratio,
        "p_holm": 0.0,
        "sla_kept": 5,
        "runs": 5,
        "modes": {"performance_mode throughput": {**ratio, "ratio": 0.5, "low": 0.5, "high": 0.5}},
    }
    assert confirmation("not measured").to_json() == {
        "trial": 7,
        "objective": "chat",
        "goal": "p95_ttft_ms",
        "outcome": "not measured",
        "p_holm": None,
        "sla_kept": 0,
        "runs": 0,
        "modes": {},
    }


def test_a_finalist_is_measured_under_the_name_of_its_trial() -> None:
    assert (FIRST.arm, confirmation("loss").decided) == ("trial 7", True)
    assert not confirmation("not measured").decided
    assert FIRST.goal == Goal("offered", "p95_ttft_ms")
