import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from search_spaces import Choice, Domain, Float, Int, Knob, Value
from search_spaces.text import parse_domain, parse_value, plain, split

SEQS = Knob(
    name="max_num_seqs",
    default=256,
    domain=Int(low=1, high=1024, log=True),
    limits=Int(low=0, high=4096),
    about="",
)
TOKENS = Knob(
    name="max_num_batched_tokens",
    default=2048,
    domain=Int(low=256, high=16384, step=256),
    limits=Int(low=1, high=131072),
    about="",
)
MEMORY = Knob(
    name="gpu_memory_utilization",
    default=0.92,
    domain=Float(low=0.80, high=0.95, step=0.01),
    limits=Float(low=0.05, high=0.99, step=0.01),
    about="",
)
WAIT = Knob(
    name="batch_wait_timeout_ms",
    default=0,
    domain=Choice((0, 5, 20)),
    limits=Int(low=0, high=5000),
    about="",
)
TP = Knob(name="tensor_parallel_size", default=1, domain=Choice((1, 2, 4)), about="")
POLICY = Knob(name="batch_policy", default="continuous", domain=Choice(("a", "b")), about="")
CACHE = Knob(name="enable_prefix_caching", default=True, domain=Choice((True, False)), about="")
KNOBS = (SEQS, TOKENS, MEMORY, WAIT, TP, POLICY, CACHE)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("max_num_seqs=64", ("max_num_seqs", "64")),
        (" --max-num-seqs = 64 ", ("max_num_seqs", "64")),
        ("a=b=c", ("a", "b=c")),
    ],
)
def test_a_setting_is_a_knob_and_the_rest(text: str, parts: tuple[str, str]) -> None:
    assert split(text) == parts


@pytest.mark.parametrize("text", ["", "=", "a", "a=", "=4", "a= ", "--=4"])
def test_a_setting_without_knob_or_value_is_refused(text: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        split(text)
    assert str(caught.value) == f"Cannot read {text!r}; it reads like `max_num_seqs=64`."


def test_a_knob_is_the_same_however_it_is_spelled() -> None:
    spellings = ("max_num_seqs", "max-num-seqs", "--max-num-seqs", " --max_num_seqs ")
    assert {plain(name) for name in spellings} == {"max_num_seqs"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        (" False ", False),
        ("64", 64),
        ("-3", -3),
        ("0.9", 0.9),
        ("1e3", 1000.0),
        ("fcfs", "fcfs"),
        ("1_000", "1_000"),
        ("9" * 20, 1e20),
        ("", ""),
    ],
)
def test_a_value_is_a_truth_a_number_or_a_text(text: str, value: Value) -> None:
    parsed = parse_value(text)
    assert (parsed, type(parsed)) == (value, type(value))


@pytest.mark.parametrize(
    ("knob", "text", "domain"),
    [
        (SEQS, "8:64", Int(low=8, high=64, log=True)),
        (SEQS, "0:64", Int(low=0, high=64)),
        (SEQS, "8:8", Int(low=8, high=8, log=True)),
        (SEQS, " 8 : 64 ", Int(low=8, high=64, log=True)),
        (SEQS, "8,16,32", Choice((8, 16, 32))),
        (SEQS, "8", Choice((8,))),
        (TOKENS, "512:2048", Int(low=512, high=2048, step=256)),
        (TOKENS, "300:1000", Int(low=512, high=768, step=256)),
        (TOKENS, "300:600", Int(low=300, high=600)),
        (TOKENS, "300,1000", Choice((300, 1000))),
        (MEMORY, "0.8:0.9", Float(low=0.8, high=0.9, step=0.01)),
        (MEMORY, "0.8:0.855", Float(low=0.8, high=0.85, step=0.01)),
        (MEMORY, "0.8:0.8", Float(low=0.8, high=0.8, step=0.01)),
        (MEMORY, "0.8,0.9", Choice((0.8, 0.9))),
        (WAIT, "0:100", Int(low=0, high=100)),
        (WAIT, "0,100", Choice((0, 100))),
        (TP, "2:4", Choice((2, 4))),
        (TP, "1,4", Choice((1, 4))),
        (POLICY, "b,a", Choice(("b", "a"))),
        (CACHE, "true,false", Choice((True, False))),
    ],
)
def test_a_range_is_of_the_knobs_own_kind(knob: Knob, text: str, domain: Domain) -> None:
    assert parse_domain(knob, text) == domain


@pytest.mark.parametrize(
    ("knob", "text", "message"),
    [
        (SEQS, "64:8", "`low <= high` must hold of the range of `max_num_seqs`, but got 64:8."),
        (
            SEQS,
            ":8",
            "Cannot read the range ':8' of `max_num_seqs`; it reads like `LOW:HIGH` or `A,B,C`.",
        ),
        (
            SEQS,
            "8,,9",
            "Cannot read the range '8,,9' of `max_num_seqs`; it reads like `LOW:HIGH` or `A,B,C`.",
        ),
        (SEQS, "8:64:9", "`max_num_seqs` must be a number, but got 64:9."),
        (SEQS, "-1:8", "`0 <= max_num_seqs <= 4096` must hold, but got -1."),
        (SEQS, "8:5000", "`0 <= max_num_seqs <= 4096` must hold, but got 5000."),
        (SEQS, "8:nan", "`max_num_seqs` must be a number, but got nan."),
        (SEQS, "8:inf", "`max_num_seqs` must be a number, but got inf."),
        (SEQS, "1.5:8", "`max_num_seqs` must be a whole number, but got 1.5."),
        (SEQS, "8,8", "A choice names each value once, but got [8, 8]."),
        (SEQS, "8,8.0", "A choice names each value once, but got [8, 8]."),
        (
            MEMORY,
            "0.8:0.805",
            "The range of `gpu_memory_utilization` goes in steps of 0.01, but got 0.8:0.805.",
        ),
        (TP, "3:4", "`tensor_parallel_size` must be one of 1, 2, 4, but got 3."),
        (
            TP,
            "4:2",
            "`low <= high` must hold of the range of `tensor_parallel_size`, but got 4:2.",
        ),
        (POLICY, "a:b", "`batch_policy` has no order: list its values, such as batch_policy=a,b."),
        (
            CACHE,
            "false:true",
            "`enable_prefix_caching` has no order: list its values, such as "
            "enable_prefix_caching=True,False.",
        ),
    ],
)
def test_an_impossible_range_is_refused(knob: Knob, text: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        parse_domain(knob, text)
    assert str(caught.value) == message


@given(st.sampled_from(KNOBS), st.text(max_size=12) | st.text("0123456789.,:-e ", max_size=12))
@example(SEQS, "1:" + "9" * 400)
@example(MEMORY, "0.1:0.99")
def test_any_text_is_a_range_within_the_limits_or_a_value_error(knob: Knob, text: str) -> None:
    try:
        domain = parse_domain(knob, text)
    except ValueError:
        return
    ends = domain.values if isinstance(domain, Choice) else (domain.low, domain.high)
    assert [knob.check(end) for end in ends] == list(ends)


@given(st.integers(5, 99), st.integers(5, 99))
def test_a_range_of_shares_holds_what_was_asked_to_the_step(low: int, high: int) -> None:
    if low > high:
        low, high = high, low
    domain = parse_domain(MEMORY, f"{low / 100}:{high / 100}")
    assert domain == Float(low=low / 100, high=high / 100, step=0.01)
