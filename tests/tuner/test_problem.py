from typing import Any

import pytest

from objectives import Quadrant, Workload
from tests.tuner.conftest import TRAFFIC
from tuner.options import Options
from tuner.problem import Case, Problem
from tuner.spec import problem_of, resolve


def problem(objective: str, **options: Any) -> Problem:
    spec, flows = resolve(Options(**{"objective": objective, **TRAFFIC, **options}))
    return problem_of(spec, tuple(f.workload for f in flows), tuple(f.redrawn for f in flows))


def shuffled(case: Case) -> list[Workload]:
    return [case.workload, *case.redrawn]


def test_the_search_sees_two_draws_and_the_confirmation_all_others() -> None:
    (case,) = problem("chat", pairs=5).cases
    assert case.draws == (case.workload, case.redrawn[0])
    assert case.fresh == case.redrawn[1:]
    assert len(case.fresh) == 5
    assert not {w.requests for w in case.draws} & {w.requests for w in case.fresh}


def test_a_case_drawn_once_has_nothing_for_the_confirmation() -> None:
    (case,) = problem("chat").cases
    alone = Case(profile=case.profile, workload=case.workload)
    assert (alone.draws, alone.fresh) == ((case.workload,), ())


def test_a_case_at_another_rate_is_so_in_every_draw() -> None:
    (case,) = problem("chat", pairs=5).cases
    moved = case.at_rate(9.0)
    assert [w.request_rate for w in shuffled(moved)] == pytest.approx([9.0] * 7)
    assert shuffled(moved) == [w.at_rate(9.0) for w in shuffled(case)]
    assert (moved.profile, moved.documents) == (case.profile, case.documents)


def test_a_quadrant_is_judged_on_its_own_traffic_else_on_the_only_one_there_is() -> None:
    chat, all_ = problem("chat"), problem("all")
    assert {q: chat.speaking_for(q).profile.name for q in Quadrant} == dict.fromkeys(
        Quadrant, "chat"
    )
    assert [all_.speaking_for(q).profile.name for q in Quadrant] == [
        *("rag", "chat", "reasoning", "summarize")
    ]


def test_a_study_begun_before_traffic_was_drawn_anew_has_none() -> None:
    spec, flows = resolve(Options(objective="all", **TRAFFIC))
    old = problem_of(spec, tuple(flow.workload for flow in flows), [()] * 4)
    assert [case.redrawn for case in old.cases] == [()] * 4
