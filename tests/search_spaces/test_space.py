import math
from dataclasses import replace

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import FixedTrial

from search_spaces import Choice, Config, Domain, Float, Int, Knob, Rule, SearchSpace, Value

SEQS = Knob(
    name="max_num_seqs",
    default=256,
    domain=Int(low=8, high=1024, log=True),
    limits=Int(low=1, high=4096),
    about="Requests running at once.",
    turn="live",
)
TOKENS = Knob(
    name="max_num_batched_tokens",
    default=2048,
    domain=Int(low=256, high=8192, step=256),
    about="Tokens of one step.",
)
MEMORY = Knob(
    name="gpu_memory_utilization",
    default=0.92,
    domain=Float(low=0.80, high=0.95, step=0.01),
    limits=Float(low=0.1, high=0.99, step=0.01),
    about="Share of GPU memory used.",
)
TP = Knob(
    name="tensor_parallel_size", default=1, domain=Choice((1, 2, 4)), about="GPUs per replica."
)
CACHE = Knob(
    name="enable_prefix_caching", default=True, domain=Choice((True, False)), about="Reuse KV."
)
DTYPE = Knob(
    name="kv_cache_dtype",
    default="auto",
    domain=Choice(("auto", "fp8")),
    about="KV dtype.",
    lossy=True,
)
WAIT = Knob(
    name="batch_wait_timeout_ms",
    default=0,
    domain=Int(low=0, high=5000),
    about="Wait for a batch to fill.",
    owner="ours",
)
FITS = Rule(
    reads="max_num_batched_tokens >= max_num_seqs",
    reason="every running request needs a token per step",
    holds=lambda config: config["max_num_batched_tokens"] >= config["max_num_seqs"],  # type: ignore[operator]
)


def replicas(config: Config) -> Config:
    return {"data_parallel_size": 4 // int(config["tensor_parallel_size"])}


SPACE = SearchSpace(
    engine="toy",
    knobs=(SEQS, TOKENS, MEMORY, TP, CACHE, DTYPE, WAIT),
    searched={
        "max_num_seqs": SEQS.domain,
        "max_num_batched_tokens": TOKENS.domain,
        "gpu_memory_utilization": MEMORY.domain,
        "tensor_parallel_size": TP.domain,
    },
    fixed={
        "enable_prefix_caching": True,
        "kv_cache_dtype": "auto",
        "batch_wait_timeout_ms": 0,
    },
    derive=replicas,
    rules=(FITS,),
)
DEFAULT: dict[str, Value] = {
    "max_num_seqs": 256,
    "max_num_batched_tokens": 2048,
    "gpu_memory_utilization": 0.92,
    "tensor_parallel_size": 1,
    "enable_prefix_caching": True,
    "kv_cache_dtype": "auto",
    "batch_wait_timeout_ms": 0,
    "data_parallel_size": 4,
}

settings = st.fixed_dictionaries(
    {},
    optional={
        "max_num_seqs": st.integers(-10, 5000),
        "max_num_batched_tokens": st.integers(-10, 10_000),
        "gpu_memory_utilization": st.floats(0, 1),
        "tensor_parallel_size": st.integers(0, 16),
    },
)


def test_the_default_is_the_engines_own_settings() -> None:
    assert SPACE.default() == DEFAULT


def test_the_default_moves_into_a_range_that_leaves_it_out() -> None:
    narrow = SPACE.free("max_num_seqs", Int(low=8, high=64)).free(
        "max_num_batched_tokens", Int(low=4096, high=8192, step=256)
    )
    assert narrow.default() == DEFAULT | {"max_num_seqs": 64, "max_num_batched_tokens": 4096}


def test_a_trial_chooses_the_searched_knobs_and_nothing_else() -> None:
    chosen = {
        "max_num_seqs": 100,
        "max_num_batched_tokens": 512,
        "gpu_memory_utilization": 0.85,
        "tensor_parallel_size": 2,
    }
    trial = FixedTrial(chosen)
    assert SPACE.suggest(trial) == DEFAULT | chosen | {"data_parallel_size": 2}
    assert trial.distributions == {
        "max_num_seqs": optuna.distributions.IntDistribution(8, 1024, log=True),
        "max_num_batched_tokens": optuna.distributions.IntDistribution(256, 8192, step=256),
        "gpu_memory_utilization": optuna.distributions.FloatDistribution(0.80, 0.95, step=0.01),
        "tensor_parallel_size": optuna.distributions.CategoricalDistribution((1, 2, 4)),
    }


def test_a_trial_of_a_float_gives_a_round_number() -> None:
    trial = FixedTrial({"m": 0.8500000000000001})
    assert MEMORY.domain.suggest(trial, "m") == 0.85


def test_the_settings_of_a_config_are_what_a_trial_chose() -> None:
    assert SPACE.settings(DEFAULT) == {
        "max_num_seqs": 256,
        "max_num_batched_tokens": 2048,
        "gpu_memory_utilization": 0.92,
        "tensor_parallel_size": 1,
    }


@given(settings)
def test_the_nearest_config_is_one_a_trial_could_have_chosen(settings: Config) -> None:
    config = SPACE.within(settings)
    trial = FixedTrial(SPACE.settings(config))
    assert SPACE.suggest(trial) == config
    assert SPACE.within(config) == config


@pytest.mark.parametrize(
    ("domain", "value", "nearest"),
    [
        (Int(low=8, high=64), 1000, 64),
        (Int(low=8, high=64), -3, 8),
        (Int(low=256, high=1024, step=256), 600, 512),
        (Int(low=256, high=1024, step=256), 650, 768),
        (Float(low=0.8, high=0.95, step=0.01), 0.923, 0.92),
        (Float(low=0.8, high=0.95, step=0.01), 0.2, 0.8),
        (Choice((1, 2, 4)), 3, 2),
        (Choice((1, 2, 4)), 16, 4),
        (Choice((1, 2, 4)), 4.0, 4),
        (Choice((1, 2, 4)), True, 1),
        (Choice((False, True)), 1, True),
        (Choice(("auto", "fp8")), "fp8", "fp8"),
        (Choice(("auto", "fp8")), "int4", "auto"),
        (Choice(("auto", "fp8")), 8, "auto"),
    ],
)
def test_the_nearest_value_lies_in_the_domain(
    domain: Domain, value: Value, nearest: Value
) -> None:
    assert (domain.nearest(value), type(domain.nearest(value))) == (nearest, type(nearest))


@pytest.mark.parametrize(
    ("domain", "text"),
    [
        (Int(low=1, high=9), "1 to 9"),
        (Int(low=8, high=1024, log=True), "8 to 1024 (log)"),
        (Int(low=256, high=1024, step=256), "256 to 1024 in steps of 256"),
        (Float(low=0.8, high=0.95, step=0.01), "0.8 to 0.95 in steps of 0.01"),
        (Choice((True, "auto", 4)), "True, auto, 4"),
    ],
)
def test_a_domain_reads_as_people_write_it(domain: Domain, text: str) -> None:
    assert str(domain) == text


def test_a_range_runs_from_low_to_high() -> None:
    with pytest.raises(ValueError, match=r"`low <= high` must hold, but got low=9, high=3\."):
        Int(low=9, high=3)
    with pytest.raises(ValueError, match=r"`low <= high` must hold, but got low=nan, high=1\."):
        Float(low=math.nan, high=1, step=0.1)


@pytest.mark.parametrize("step", [0, -1, 3])
def test_a_step_divides_its_range(step: int) -> None:
    with pytest.raises(ValueError, match=f"`step` must divide 10, but got {step}"):
        Int(low=0, high=10, step=step)


def test_a_step_of_a_float_is_above_zero_and_divides_its_range() -> None:
    with pytest.raises(ValueError, match=r"`step > 0` must hold, but got 0\."):
        Float(low=0, high=1, step=0)
    with pytest.raises(ValueError, match=r"`step` must divide 0\.15, but got 0\.02\."):
        Float(low=0.8, high=0.95, step=0.02)


@pytest.mark.parametrize(("low", "step"), [(0, 1), (1, 2)])
def test_a_log_range_starts_above_zero_and_has_no_step(low: int, step: int) -> None:
    with pytest.raises(ValueError, match="of a log range"):
        Int(low=low, high=low + 8, step=step, log=True)


def test_a_choice_names_each_of_some_values_once() -> None:
    with pytest.raises(ValueError, match="at least one value"):
        Choice(())
    with pytest.raises(ValueError, match=r"each value once, but got \[1, 2, 1\]"):
        Choice((1, 2, 1))


@pytest.mark.parametrize(
    ("knob", "value", "checked"),
    [
        (SEQS, 4096, 4096),
        (SEQS, 64.0, 64),
        (MEMORY, 0.5, 0.5),
        (TP, 2.0, 2),
        (CACHE, False, False),
        (DTYPE, "fp8", "fp8"),
    ],
)
def test_a_value_within_the_limits_becomes_the_knobs_type(
    knob: Knob, value: Value, checked: Value
) -> None:
    assert (knob.check(value), type(knob.check(value))) == (checked, type(checked))


@pytest.mark.parametrize(
    ("knob", "value", "message"),
    [
        (SEQS, 0, "`1 <= max_num_seqs <= 4096` must hold, but got 0."),
        (SEQS, 8.5, "`max_num_seqs` must be a whole number, but got 8.5."),
        (SEQS, True, "`max_num_seqs` must be a number, but got True."),
        (SEQS, "many", "`max_num_seqs` must be a number, but got many."),
        (MEMORY, math.nan, "`gpu_memory_utilization` must be a number, but got nan."),
        (TP, 3, "`tensor_parallel_size` must be one of 1, 2, 4, but got 3."),
        (TP, True, "`tensor_parallel_size` must be one of 1, 2, 4, but got True."),
        (CACHE, 1, "`enable_prefix_caching` must be one of True, False, but got 1."),
        (DTYPE, "int4", "`kv_cache_dtype` must be one of auto, fp8, but got int4."),
    ],
)
def test_a_value_outside_the_limits_is_refused(knob: Knob, value: Value, message: str) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        knob.check(value)
    assert str(refused.value) == message


def test_a_fixed_knob_keeps_its_value_and_is_no_longer_searched() -> None:
    space = SPACE.fix("tensor_parallel_size", 4.0)
    assert list(space.searched) == [
        "max_num_seqs",
        "max_num_batched_tokens",
        "gpu_memory_utilization",
    ]
    assert space.default() == DEFAULT | {"tensor_parallel_size": 4, "data_parallel_size": 1}


def test_a_freed_knob_is_searched_over_its_new_range() -> None:
    space = SPACE.free("--batch-wait-timeout-ms", Int(low=0, high=100, step=10))
    assert space.searched["batch_wait_timeout_ms"] == Int(low=0, high=100, step=10)
    assert "batch_wait_timeout_ms" not in space.fixed
    assert space.within({"batch_wait_timeout_ms": 47}) == DEFAULT | {"batch_wait_timeout_ms": 50}


def test_fixing_and_freeing_leave_the_space_they_start_from_alone() -> None:
    SPACE.fix("max_num_seqs", 8)
    SPACE.free("kv_cache_dtype", DTYPE.domain)
    assert SPACE.default() == DEFAULT


@pytest.mark.parametrize(
    ("name", "domain", "message"),
    [
        ("max_num_seqs", Int(low=0, high=64), "`1 <= max_num_seqs <= 4096` must hold"),
        ("max_num_seqs", Float(low=1, high=2, step=0.5), "`max_num_seqs` .*whole numbers"),
        ("tensor_parallel_size", Choice((1, 3)), "must be one of 1, 2, 4, but got 3"),
        ("tensor_parallel_size", Int(low=1, high=4), "`tensor_parallel_size` .*one of 1, 2, 4"),
    ],
)
def test_a_range_outside_the_limits_is_refused(name: str, domain: Domain, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SPACE.free(name, domain)


def test_the_values_of_a_freed_choice_take_the_knobs_type() -> None:
    freed = SPACE.free("max_num_seqs", Choice((8.0, 64.0))).searched["max_num_seqs"]
    assert str(freed) == "8, 64"


@pytest.mark.parametrize(
    "name", ["max_num_seqs", "max-num-seqs", "--max-num-seqs", " max_num_seqs "]
)
def test_a_knob_is_found_however_it_is_spelled(name: str) -> None:
    assert SPACE.knob(name) is SEQS


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("max_seqs", "max_num_seqs"),
        ("--tensor-parallel", "tensor_parallel_size"),
        ("kv_dtype", "kv_cache_dtype"),
    ],
)
def test_an_unknown_knob_is_answered_with_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(ValueError, match=f"Unknown toy knob '{name}'; nearest: {nearest}[,.]"):
        SPACE.knob(name)


def test_a_knob_like_no_other_is_answered_with_all_of_them() -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        SPACE.fix("zzz", 1)
    assert str(refused.value) == (
        "Unknown toy knob 'zzz'; nearest: max_num_seqs, max_num_batched_tokens, "
        "gpu_memory_utilization, tensor_parallel_size, enable_prefix_caching, kv_cache_dtype, "
        "batch_wait_timeout_ms."
    )


def test_departures_are_the_knobs_off_their_default_in_the_order_of_the_space() -> None:
    assert SPACE.departures(DEFAULT) == ()
    changed = DEFAULT | {"kv_cache_dtype": "fp8", "max_num_seqs": 8, "data_parallel_size": 2}
    assert SPACE.departures(changed) == ("max_num_seqs", "kv_cache_dtype")


def test_what_the_user_has_set_is_not_what_a_study_has_turned() -> None:
    mine = SPACE.fix("kv_cache_dtype", "fp8")
    default = mine.default()
    assert (mine.departures(default), mine.turned(default)) == (("kv_cache_dtype",), ())
    assert mine.turned({**default, "max_num_seqs": 8}) == ("max_num_seqs",)


@pytest.mark.parametrize(
    ("changes", "ours", "lossy"),
    [
        ({}, False, False),
        ({"max_num_seqs": 8}, False, False),
        ({"batch_wait_timeout_ms": 50}, True, False),
        ({"kv_cache_dtype": "fp8"}, False, True),
    ],
)
def test_a_config_says_whether_it_needs_our_scheduler_and_whether_it_is_lossy(
    changes: dict[str, Value], ours: bool, lossy: bool
) -> None:
    config = DEFAULT | changes
    assert (SPACE.needs_ours(config), SPACE.is_lossy(config)) == (ours, lossy)


def test_the_rules_a_config_breaks_are_told() -> None:
    assert SPACE.broken_rules(DEFAULT) == []
    assert SPACE.broken_rules(DEFAULT | {"max_num_batched_tokens": 128}) == [FITS]


def test_a_space_names_a_knob_once() -> None:
    with pytest.raises(ValueError, match=r"The toy space names \['max_num_seqs'\] more than once"):
        replace(SPACE, knobs=(*SPACE.knobs, SEQS))


@pytest.mark.parametrize(
    "fixed",
    [
        {name: value for name, value in SPACE.fixed.items() if name != "kv_cache_dtype"},
        {**SPACE.fixed, "max_num_seqs": 8},
        {**SPACE.fixed, "block_size": 16},
    ],
    ids=["neither", "both", "unknown"],
)
def test_every_knob_is_either_searched_or_fixed(fixed: Config) -> None:
    with pytest.raises(ValueError, match="must be searched or fixed, not both"):
        replace(SPACE, fixed=fixed)
