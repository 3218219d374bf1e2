from typing import Any

from objectives import Judgement, Quadrant, Verdict
from results.export.losses import cost_of_dropping
from results.record import TrialRecord
from tests.results.export.cases import DEFAULT, SPACE

KNOB = "long_prefill_token_threshold"
TURNED = {**DEFAULT, KNOB: 2048, "max_num_seqs": 64}
FAILED = {"kind": "died", "detail": "signal 9"}


def trial(number: int, config: Any, ttft_ms: float, **more: Any) -> TrialRecord:
    verdict = more.pop("verdict", Verdict.MET)
    judged = {"p95_ttft_ms<=500": Judgement(500.0, ttft_ms, 1.0, verdict, -1.0)}
    return TrialRecord(
        number=number,
        objective=more.pop("objective", "chat"),
        config=config,
        origin="sampler",
        loads={"offered": {"p95_ttft_ms": ttft_ms}},
        quadrants=dict.fromkeys(Quadrant, judged),
        launch_id=number,
        **more,
    )


BEST = trial(5, TURNED, 100.0)


def cost(*others: TrialRecord) -> str:
    return cost_of_dropping(KNOB, BEST, [BEST, *others], SPACE, Quadrant.INTERACTIVE)


def test_a_knob_that_was_never_at_its_default_costs_nobody_knows_what() -> None:
    other = trial(1, {**TURNED, "max_num_seqs": 32}, 110.0)
    elsewhere = trial(2, {**TURNED, KNOB: 0}, 90.0, objective="rag")
    failed = trial(3, {**TURNED, KNOB: 0}, 90.0, failure=FAILED)
    assert cost(other, elsewhere, failed) == "not measured"


def test_the_trial_that_differs_in_nothing_else_says_what_it_costs() -> None:
    near, far = trial(9, {**TURNED, KNOB: 0}, 150.0), trial(0, DEFAULT, 400.0)
    assert cost(far, near) == (
        "p95_ttft_ms 150 instead of 100 (+50%) (trial 9, otherwise the same)"
    )


def test_a_trial_that_differs_in_more_says_in_what() -> None:
    broken = trial(0, DEFAULT, 800.0, verdict=Verdict.BROKEN)
    assert cost(broken) == (
        "p95_ttft_ms 800 instead of 100 (+700%), and the SLA broken "
        "(trial 0, which differs in max_num_seqs, too)"
    )
