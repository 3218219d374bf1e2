from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objectives import Judgement, Quadrant, Verdict
from results.differences import unused_knobs
from results.record import TrialRecord
from results.ties import Ties
from search_spaces import Choice, Int, Knob, SearchSpace

GOALS = Quadrant.INTERACTIVE.goals
TIE = Ties(0.01)
FAILURE = {"kind": "out of memory", "detail": "no room"}
KNOBS = (
    Knob(name="max_num_seqs", default=256, domain=Int(low=1, high=1024), about="batch"),
    Knob(name="chunk", default=0, domain=Choice((0, 512)), about="chunk"),
    Knob(name="policy", default="fcfs", domain=Choice(("fcfs", "priority")), about="order"),
)
SPACE = SearchSpace(
    engine="vllm",
    knobs=KNOBS,
    searched={knob.name: knob.domain for knob in KNOBS[:2]},
    fixed={"policy": "fcfs"},
    derive=lambda config: {},
)


def judged(verdict: Verdict) -> dict[str, Judgement]:
    return {"p95_ttft_ms<=500": Judgement(500.0, 400.0, 0.97, verdict, 0.0)}


def trial(
    number: int,
    *,
    seqs: int = 256,
    chunk: int = 0,
    ttft_ms: float | None = 400.0,
    gpus_needed: int | None = 2,
    verdict: Verdict = Verdict.MET,
    **changes: Any,
) -> TrialRecord:
    fields: dict[str, Any] = {
        "objective": "chat",
        "config": {"max_num_seqs": seqs, "chunk": chunk, "policy": "fcfs"},
        "origin": "sampler",
        "loads": {
            "offered": {"p95_ttft_ms": ttft_ms},
            "capacity": {"gpus_needed": gpus_needed},
        },
        "sla": judged(verdict),
        "launch_id": number,
    }
    return TrialRecord(number=number, **{**fields, **changes})


def unused(records: Sequence[TrialRecord]) -> list[str]:
    return unused_knobs(records, SPACE, GOALS, TIE)


def test_a_knob_turned_alone_to_no_effect_is_unused() -> None:
    assert unused([trial(0), trial(1, seqs=64, ttft_ms=403.0)]) == ["max_num_seqs"]
    assert unused([trial(0), trial(1, chunk=512)]) == ["chunk"]


def test_unused_knobs_are_named_in_the_order_of_the_space() -> None:
    assert unused([trial(0), trial(1, chunk=512), trial(2, seqs=64)]) == ["max_num_seqs", "chunk"]


def test_nothing_is_known_of_knobs_that_were_only_turned_together() -> None:
    assert unused([trial(0), trial(1, seqs=64, chunk=512)]) == []


def test_the_same_config_tried_twice_says_nothing() -> None:
    assert unused([trial(0), trial(1)]) == []


@pytest.mark.parametrize(
    "other",
    [
        trial(1, seqs=64, ttft_ms=405.0),
        trial(1, seqs=64, gpus_needed=3),
        trial(1, seqs=64, gpus_needed=None),
        trial(1, seqs=64, verdict=Verdict.UNDECIDED),
        trial(1, seqs=64, failure=FAILURE, loads={}, sla={}),
    ],
    ids=["first token", "GPUs", "no capacity", "verdict", "failure"],
)
def test_one_effect_is_enough_for_a_knob_to_be_used(other: TrialRecord) -> None:
    assert unused([trial(0), other, trial(2, seqs=32)]) == []
    assert unused([other, trial(0), trial(2, seqs=32)]) == []


def test_a_promise_of_another_quadrant_that_breaks_is_an_effect() -> None:
    kept, broken = ({Quadrant.BULK: judged(verdict)} for verdict in (Verdict.MET, Verdict.BROKEN))
    assert unused([trial(0, quadrants=kept), trial(1, seqs=64, quadrants=broken)]) == []


def test_goals_that_neither_config_has_leave_the_others_to_decide() -> None:
    alone = trial(0, gpus_needed=None)
    same = trial(1, seqs=64, gpus_needed=None)
    slower = trial(1, seqs=64, gpus_needed=None, ttft_ms=800.0)
    assert unused([alone, same]) == ["max_num_seqs"]
    assert unused([alone, slower]) == []


def test_two_configs_that_both_fail_say_nothing_of_the_knob_between_them() -> None:
    failed: dict[str, Any] = {"failure": FAILURE, "loads": {}, "sla": {}}
    assert unused([trial(0, **failed), trial(1, seqs=64, **failed)]) == []


@pytest.mark.parametrize("ttft_ms", [400.0, 800.0])
def test_a_trial_that_was_stopped_says_nothing(ttft_ms: float) -> None:
    stopped = trial(1, seqs=64, ttft_ms=ttft_ms, stopped_early=True)
    assert unused([trial(0), stopped]) == []
    assert unused([trial(0), stopped, trial(2, seqs=32)]) == ["max_num_seqs"]


def test_values_whose_intervals_overlap_are_no_effect() -> None:
    def between(number: int, seqs: int, low_ms: float, high_ms: float) -> TrialRecord:
        ends = {"p95_ttft_ms": [low_ms, high_ms]}
        found = {"p95_ttft_ms": (low_ms + high_ms) / 2, "intervals": ends}
        return trial(number, seqs=seqs, loads={"offered": found})

    assert unused([between(0, 256, 300, 400), between(1, 64, 390, 500)]) == ["max_num_seqs"]
    assert unused([between(0, 256, 300, 400), between(1, 64, 410, 500)]) == []


def test_a_config_ruled_out_before_a_launch_says_nothing() -> None:
    ruled_out = trial(1, seqs=64, failure=FAILURE, loads={}, sla={}, launch_id=None)
    assert unused([trial(0), ruled_out]) == []


def test_the_same_config_on_other_traffic_is_no_pair() -> None:
    assert unused([trial(0), trial(1, seqs=64, objective="rag")]) == []


def test_a_knob_that_is_not_searched_is_never_named() -> None:
    other = replace(trial(1), config={**trial(1).config, "policy": "priority"})
    assert unused([trial(0), other]) == []


@given(
    st.lists(
        st.builds(
            trial,
            number=st.just(0),
            seqs=st.sampled_from([64, 256]),
            chunk=st.sampled_from([0, 512]),
            ttft_ms=st.sampled_from([400.0, 403.0, 800.0]),
            verdict=st.sampled_from(Verdict),
        ),
        max_size=6,
    )
)
def test_which_knobs_are_unused_does_not_depend_on_the_order_of_the_trials(
    records: list[TrialRecord],
) -> None:
    assert unused(records[::-1]) == unused(records)
