import pytest

from objectives import Goal, Profile, Quadrant, parse_sla

CAPACITY = Goal("capacity", "capacity_per_gpu")
SATURATED = Goal("capacity", "output_throughput_per_gpu")
FIRST_TOKEN = Goal("offered", "p95_ttft_ms")
GPUS = Goal("capacity", "gpus_needed")


def test_each_quadrant_has_a_numeral_and_an_objective_that_stands_for_it() -> None:
    assert [(q.numeral, str(q), q.representative) for q in Quadrant] == [
        ("I", "live-at-scale", "rag"),
        ("II", "interactive", "chat"),
        ("III", "economy", "reasoning"),
        ("IV", "bulk", "summarize"),
    ]


def test_each_quadrant_chooses_its_winner_by_its_own_goals() -> None:
    assert {q: q.goals for q in Quadrant} == {
        Quadrant.LIVE_AT_SCALE: (CAPACITY,),
        Quadrant.INTERACTIVE: (FIRST_TOKEN, GPUS),
        Quadrant.ECONOMY: (GPUS, CAPACITY, Goal("offered", "output_throughput_per_gpu")),
        Quadrant.BULK: (SATURATED,),
    }


def test_bulk_tells_the_optimiser_saturation_and_the_others_capacity() -> None:
    assert {q: q.values for q in Quadrant} == {
        Quadrant.LIVE_AT_SCALE: (CAPACITY, FIRST_TOKEN),
        Quadrant.INTERACTIVE: (CAPACITY, FIRST_TOKEN),
        Quadrant.ECONOMY: (CAPACITY, FIRST_TOKEN),
        Quadrant.BULK: (SATURATED, Goal("offered", "p95_e2el_ms")),
    }


@pytest.mark.parametrize("quadrant", Quadrant)
def test_the_two_values_pull_in_opposite_directions(quadrant: Quadrant) -> None:
    assert [value.direction for value in quadrant.values] == ["maximize", "minimize"]


@pytest.mark.parametrize(
    ("metric", "direction"),
    [
        ("capacity_per_gpu", "maximize"),
        ("output_throughput", "maximize"),
        ("headroom", "maximize"),
        ("gpus_needed", "minimize"),
        ("p99_tpot_ms", "minimize"),
        ("makespan_s", "minimize"),
        ("cost_per_million_output_tokens_usd", "minimize"),
    ],
)
def test_throughput_goes_up_and_latency_and_cost_go_down(metric: str, direction: str) -> None:
    assert Goal("offered", metric).direction == direction


def test_a_profile_without_capacity_tells_what_the_offered_load_shows() -> None:
    profile = Profile(
        name="rag", quadrant=Quadrant.LIVE_AT_SCALE, sla=parse_sla("p95_ttft_ms<=1000")
    )
    assert profile.values(capacity=True) == (CAPACITY, FIRST_TOKEN)
    assert profile.values(capacity=False) == (
        Goal("offered", "output_throughput_per_gpu"),
        FIRST_TOKEN,
    )
