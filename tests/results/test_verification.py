import math

import pytest

from objectives import Quadrant
from results.comparison import Comparison, Effect
from results.verification import Promise, Verified, unpaired

SAME = Comparison(1.0, 0.9, 1.1, 0.8, 5)


def verified(*found: Effect, broken: tuple[str, ...] = ()) -> Verified:
    return Verified(
        quadrant=Quadrant.INTERACTIVE,
        trial=7,
        runs=5,
        simulated=False,
        paired=True,
        promises=tuple(Promise("p95_ttft_ms", 100.0, 99.0, SAME, effect) for effect in found),
        broken=broken,
    )


def test_one_metric_that_got_worse_makes_it_worse() -> None:
    assert verified(Effect.BETTER, Effect.WORSE).verdict == "worse"
    assert verified(Effect.BETTER, Effect.NOT_SHOWN).verdict == "better"
    assert verified(Effect.NOT_SHOWN, Effect.NOT_SHOWN).verdict == "as promised"


def test_a_broken_bound_makes_it_worse() -> None:
    assert verified(Effect.BETTER, broken=("p95_ttft_ms<=500",)).verdict == "worse"


def test_it_is_told_in_lines() -> None:
    assert str(verified(Effect.NOT_SHOWN)) == (
        "as promised: interactive, trial 7, 5 runs, each beside its pair in the confirmation\n"
        "  p95_ttft_ms: promised 100, measured 99, 1 times as good (0.9 to 1.1): as promised"
    )


def test_a_single_promise_is_as_uncertain_as_a_single_run() -> None:
    ratios = [0.9, 1.0, 1.1]
    found = unpaired(ratios)
    # Two degrees of freedom: t is 4.3027; the standard deviation of the logarithms 0.10042.
    margin = 4.3027 * 0.10042 * math.sqrt(4 / 3)
    assert math.log(found.high / found.ratio) == pytest.approx(margin, rel=1e-3)
    assert found.p_value > 0.9


def test_runs_that_are_all_alike_have_no_interval() -> None:
    assert unpaired([0.5, 0.5]) == Comparison(0.5, 0.5, 0.5, 0.0, 2)
    assert unpaired([1.0, 1.0]) == Comparison(1.0, 1.0, 1.0, 1.0, 2)
