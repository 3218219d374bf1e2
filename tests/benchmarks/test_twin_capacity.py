import pytest

from benchmarks import twin_capacity
from benchmarks.twin_capacity import CASES, SYSTEMS, Case, Outcome, Slo, Streams, System
from objectives import Request, Workload
from objectives.statistics import percentile
from runners.simulated.replica import StepEvent

SLO = Slo(name="relaxed", p99_tbt_s=0.5, token_budget=2048)


def outcome(request_rate: float, p99_tbt_s: float) -> Outcome:
    return Outcome(
        request_rate=request_rate,
        p99_tbt_s=p99_tbt_s,
        median_delay_s=0.0,
        output_tokens_per_s=0.0,
        median_ttft_s=0.0,
        preemptions=0,
    )


def test_a_gap_spans_what_lies_between_two_tokens_preemption_included() -> None:
    requests = (Request(0.0, 10, 3), Request(1.0, 4, 1))
    streams = Streams(Workload(name="t", requests=requests))
    for event in (
        StepEvent(0, 1, prefills=((0, 6),), decodes=(), preempted=()),
        StepEvent(1, 2, prefills=((0, 4),), decodes=(), preempted=()),
        StepEvent(2, 3, prefills=((1, 4),), decodes=(0,), preempted=()),
        StepEvent(3, 4, prefills=(), decodes=(), preempted=(0,)),
        StepEvent(4, 6, prefills=((0, 12),), decodes=(), preempted=()),
    ):
        streams(event)
    assert list(streams.gaps_s) == [1, 3]
    assert streams.delays_s == {0: 0.0, 1: 1.0}


def test_the_lengths_have_the_quantiles_of_the_papers_table_2() -> None:
    requests = twin_capacity.traffic(20_000, seed=0).requests
    prompts = sorted(r.input_tokens for r in requests)
    answers = sorted(r.output_tokens for r in requests)
    told = [percentile(side, share) for side in (prompts, answers) for share in (0.5, 0.9)]
    assert told == pytest.approx([1730, 5696, 415, 834], rel=0.03)
    assert max(r.input_tokens + r.output_tokens for r in requests) == 8192


@pytest.mark.parametrize("limit", [0.3, 1.0, 7.7])
def test_capacity_is_the_highest_rate_within_the_slo_to_2_5_percent(
    limit: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offered(
        case: Case, system: System, slo: Slo, workload: Workload, request_rate: float
    ) -> Outcome:
        return outcome(request_rate, 0.0 if request_rate <= limit else 1.0)

    monkeypatch.setattr(twin_capacity, "offered", offered)
    found = twin_capacity.capacity(
        CASES["mistral-7b"],
        SYSTEMS["Sarathi"],
        SLO,
        twin_capacity.traffic(1, seed=0),
    )
    assert found is not None
    assert limit / 1.025 <= found.request_rate <= limit


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_scheduler_keeps_its_slo_when_next_to_nothing_is_offered(name: str) -> None:
    case = CASES["mistral-7b"]
    found = twin_capacity.offered(case, SYSTEMS[name], SLO, twin_capacity.traffic(4, seed=0), 0.01)
    assert found.within(SLO)
    assert (found.median_delay_s, found.preemptions) == (0.0, 0)
