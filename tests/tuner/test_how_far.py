from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from objectives import Quadrant
from objectives.quadrant import FIRST_TOKEN
from results.confirmation import Finalist
from results.record import TrialRecord
from tests.tuner.conftest import TRAFFIC
from tuner.how_far import missing
from tuner.options import Options
from tuner.spec import StudySpec, resolve

CHOSEN = Finalist(quadrant=Quadrant.INTERACTIVE, objective="chat", trial=1, goal=FIRST_TOKEN)


@cache
def asked() -> StudySpec:
    return resolve(Options(objective="chat", trials=4, pairs=5, **TRAFFIC))[0]


def confirmed(pairs: int, objective: str = "chat") -> list[TrialRecord]:
    return [
        TrialRecord(
            number=1, objective=objective, config={}, origin="confirm", arm="trial 1", pair=pair
        )
        for pair in range(pairs)
    ]


def so_far(done: int, **changes: Any) -> dict[str, Any]:
    return {"trials": {"done": done}, "baseline": {"config": {}}, **changes}


@pytest.mark.parametrize(
    ("done", "finalists", "runs", "said"),
    [
        (3, None, [], "3 of 4 trials"),
        (4, None, [], None),
        (3, [], [], None),
        (4, [CHOSEN], confirmed(3), "3 of 5 pairs"),
        (4, [CHOSEN], confirmed(5, "rag"), "0 of 5 pairs"),
        (4, [CHOSEN], confirmed(5), None),
    ],
)
def test_what_a_study_lacks_is_said_in_words(
    done: int, finalists: list[Finalist] | None, runs: list[TrialRecord], said: str | None
) -> None:
    assert missing(asked(), so_far(done), finalists, runs) == said


@pytest.mark.parametrize(
    ("summary", "finalists", "said"),
    [
        (so_far(3), None, "3 trials"),
        (so_far(3), [CHOSEN], None),
        (so_far(0, baseline=None), None, "0 trials"),
        (so_far(3, baseline=None), None, None),
    ],
)
def test_a_budget_ends_when_finalists_are_fixed_or_cannot_be(
    summary: dict[str, Any], finalists: list[Finalist] | None, said: str | None
) -> None:
    spec = replace(asked(), trials=None, budget_s=3600.0)
    assert missing(spec, summary, finalists, []) == said
