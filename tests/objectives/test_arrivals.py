import math
import random
from collections.abc import Callable
from itertools import pairwise
from statistics import fmean, pstdev, quantiles

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objectives import Workload
from objectives.arrivals import (
    AllAtOnce,
    Arrivals,
    ClosedLoop,
    Constant,
    Empirical,
    Fixed,
    Gamma,
    Lognormal,
    Synthetic,
    Uniform,
    poisson,
)

LENGTHS = (Lognormal(median=500, p90=2000, longest=8000), Uniform(tokens=200, spread=0.5))
CHAT = Synthetic(lengths=LENGTHS, arrivals=poisson(4.0))


def lengths(workload: Workload) -> list[tuple[int, int]]:
    return [(r.input_tokens, r.output_tokens) for r in workload.requests]


@given(st.integers())
def test_the_same_seed_gives_the_same_requests(seed: int) -> None:
    assert CHAT.workload("chat", requests=8, seed=seed) == CHAT.workload(
        "chat", requests=8, seed=seed
    )


def test_another_seed_gives_other_times_and_lengths() -> None:
    one, two = (CHAT.workload("chat", requests=50, seed=seed) for seed in (1, 2))
    assert lengths(one) != lengths(two)
    assert one.span_s != two.span_s


@pytest.mark.parametrize(
    "arrivals",
    [poisson(9.0), Gamma(4.0, cv=3.0), Constant(1.0), AllAtOnce(), ClosedLoop(16)],
    ids=lambda arrivals: type(arrivals).__name__,
)
def test_other_arrivals_keep_the_lengths(arrivals: Arrivals) -> None:
    other = Synthetic(lengths=LENGTHS, arrivals=arrivals)
    assert lengths(other.workload("chat", requests=50, seed=3)) == lengths(
        CHAT.workload("chat", requests=50, seed=3)
    )


@pytest.mark.parametrize("cv", [0.5, 1.0, 2.0])
def test_gamma_gaps_have_the_mean_rate_and_the_variation_asked_for(cv: float) -> None:
    times = Gamma(5.0, cv=cv).times(40_000, random.Random(1))
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert times[0] == 0.0
    assert fmean(gaps) == pytest.approx(1 / 5.0, rel=0.03)
    assert pstdev(gaps) / fmean(gaps) == pytest.approx(cv, rel=0.03)


def test_poisson_is_gamma_of_variation_one() -> None:
    assert poisson(3.0) == Gamma(3.0, cv=1.0)


def test_constant_arrivals_are_evenly_spaced() -> None:
    assert Constant(4.0).times(4, random.Random(0)) == [0.0, 0.25, 0.5, 0.75]


def test_all_at_once_is_at_time_zero() -> None:
    assert AllAtOnce().times(3, random.Random(0)) == [0.0, 0.0, 0.0]


def test_a_closed_loop_reaches_the_workload_as_its_concurrency() -> None:
    closed = Synthetic(lengths=LENGTHS, arrivals=ClosedLoop(16))
    assert [
        synthetic.workload("chat", requests=3, seed=0).concurrency for synthetic in (closed, CHAT)
    ] == [16, None]


@given(st.integers(1, 5000), st.integers(1, 100), st.randoms(use_true_random=False))
def test_uniform_lengths_stay_within_the_spread(
    tokens: int, percent: int, rng: random.Random
) -> None:
    drawn = Uniform(tokens=tokens, spread=percent / 100).draw(rng)
    assert -(-tokens * percent // 100) <= drawn <= tokens


def test_the_shortest_uniform_length_is_the_spread_itself() -> None:
    rng = random.Random(0)
    uniform = Uniform(tokens=100, spread=0.55)  # 0.55 * 100 is a little over 55 in binary.
    assert min(uniform.draw(rng) for _ in range(2000)) == 55


def test_lognormal_lengths_have_the_median_and_the_90th_percentile_asked_for() -> None:
    rng = random.Random(1)
    drawn = [Lognormal(median=500, p90=2000, longest=10**6).draw(rng) for _ in range(20_000)]
    deciles = quantiles(drawn, n=10)
    assert (deciles[4], deciles[8]) == pytest.approx((500, 2000), rel=0.05)


def test_lognormal_lengths_are_cut_off_at_one_and_at_the_longest() -> None:
    rng = random.Random(1)
    drawn = [Lognormal(median=2, p90=100, longest=120).draw(rng) for _ in range(2000)]
    assert (min(drawn), max(drawn)) == (1, 120)


def test_pairs_seen_together_stay_together() -> None:
    pairs = ((10, 1), (20, 2), (30, 3))
    seen = Synthetic(lengths=Empirical(pairs), arrivals=AllAtOnce())
    assert set(lengths(seen.workload("seen", requests=100, seed=0))) == set(pairs)


@pytest.mark.parametrize(
    ("tokens", "share", "blocks"),
    [(100, 0.0, 0), (100, 0.5, 3), (160, 0.5, 5), (20, 0.5, 0), (800, 0.58, 29)],
)
def test_a_shared_prefix_is_the_same_whole_blocks_of_every_prompt(
    tokens: int, share: float, blocks: int
) -> None:
    synthetic = Synthetic(
        lengths=(Fixed(tokens), Fixed(1)), arrivals=AllAtOnce(), prefix_share=share
    )
    workload = synthetic.workload("shared", requests=2, seed=0)
    assert workload.block_tokens == 16
    assert [r.blocks for r in workload.requests] == [tuple(range(blocks))] * 2


def test_the_source_reaches_the_workload() -> None:
    synthetic = Synthetic(lengths=LENGTHS, arrivals=AllAtOnce(), source="a paper, table 2")
    assert synthetic.workload("chat", requests=1, seed=0).source == "a paper, table 2"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Fixed(0), "`tokens > 0` must hold, but got 0."),
        (lambda: Uniform(tokens=10, spread=0), "`0 < spread <= 1` must hold, but got 0."),
        (lambda: Uniform(tokens=10, spread=1.5), "`0 < spread <= 1` must hold, but got 1.5."),
        (
            lambda: Lognormal(median=9, p90=3, longest=10),
            "`median <= p90 <= longest` must hold, but got 9, 3, 10.",
        ),
        (lambda: Empirical(()), "An empirical length distribution needs at least one pair."),
        (lambda: Gamma(math.inf), "`request_rate > 0` must hold, but got inf."),
        (lambda: Gamma(1.0, cv=0.0), "`cv > 0` must hold, but got 0.0."),
        (lambda: Constant(math.nan), "`request_rate > 0` must hold, but got nan."),
        (lambda: ClosedLoop(0), "`concurrency > 0` must hold, but got 0."),
        (
            lambda: Synthetic(lengths=LENGTHS, arrivals=AllAtOnce(), prefix_share=1.0),
            "`0 <= prefix_share < 1` must hold, but got 1.0.",
        ),
        (
            lambda: CHAT.workload("chat", requests=0, seed=0),
            "`requests > 0` must hold, but got 0.",
        ),
    ],
)
def test_what_cannot_be_drawn_is_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        make()
    assert str(refused.value) == message
