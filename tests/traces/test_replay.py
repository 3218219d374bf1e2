"""The workload made from a trace: what is kept, what is changed, and what the user is told."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from objectives.workload import Request, Workload
from tuner.errors import BadInput
from tuner.traces import Trace, workload_from

TIMED = Trace(
    name="azure.csv",
    format="Azure 2023",
    requests=tuple(Request(second / 2, 100 + second, 10 + second) for second in range(6)),
    timed=True,
    block_tokens=16,
    tick_s=0.0,
    skipped={"no output tokens (failed request)": 2},
)
LENGTHS = replace(
    TIMED,
    name="arxiv.csv",
    format="lengths only",
    requests=(Request(0.0, 3772, 54), Request(0.0, 76, 2958)),
    timed=False,
    skipped={},
)
TICKED = replace(
    TIMED,
    name="mooncake.jsonl",
    format="Mooncake",
    requests=tuple(Request(3.0 * (i // 4), 2000, 5, (1, 2, i)) for i in range(40)),
    block_tokens=512,
    tick_s=3.0,
    skipped={},
)
SKIPPED = "2 of 8 rows left out: no output tokens (failed request)"


def test_a_short_trace_is_replayed_whole() -> None:
    assert workload_from(TIMED, name="chat", requests=100, seed=0) == (
        Workload(
            name="chat", requests=TIMED.requests, block_tokens=16, source="azure.csv (Azure 2023)"
        ),
        (SKIPPED, "all 6 requests are replayed, fewer than the 100 wanted"),
    )


def test_a_long_trace_is_replayed_in_a_contiguous_stretch_picked_by_the_seed() -> None:
    stretches = {}
    for seed in range(20):
        workload, notes = workload_from(TIMED, name="chat", requests=4, seed=seed)
        [stretch_note] = notes[1:]
        stretches[stretch_note] = workload.requests
    assert stretches == {
        f"requests {start + 1} to {start + 4} of 6 are replayed (picked by the seed)": tuple(
            replace(request, arrival_s=request.arrival_s - start / 2)
            for request in TIMED.requests[start : start + 4]
        )
        for start in range(3)
    }


def test_a_window_keeps_what_arrives_from_its_start_until_before_its_end() -> None:
    workload, notes = workload_from(TIMED, name="chat", requests=3, seed=0, window=(0.5, 2.0))
    assert workload.requests == (
        Request(0.0, 101, 11),
        Request(0.5, 102, 12),
        Request(1.0, 103, 13),
    )
    assert notes == (SKIPPED, "3 of 6 requests arrive in the window 0.5 s to 2 s")


def test_scaled_prompts_keep_the_blocks_they_still_fill() -> None:
    trace = replace(
        TICKED, tick_s=0.0, requests=(Request(0.0, 1536, 5, (1, 2, 3)), Request(1.0, 3, 1))
    )
    workload, _ = workload_from(trace, name="chat", requests=2, seed=0, scale_tokens=0.7)
    assert workload.requests == (Request(0.0, 1075, 4, (1, 2)), Request(1.0, 2, 1))


def test_longer_prompts_keep_the_blocks_they_had() -> None:
    trace = replace(TICKED, tick_s=0.0, requests=(Request(0.0, 600, 5, (1,)), Request(1.0, 3, 1)))
    workload, _ = workload_from(trace, name="chat", requests=2, seed=0, scale_tokens=2.0)
    assert workload.requests == (Request(0.0, 1200, 10, (1,)), Request(1.0, 6, 2))


@settings(deadline=None)
@given(st.floats(1e-9, 1000.0), st.integers(1, 10**9), st.integers(1, 10**9))
def test_scaling_never_leaves_a_request_without_tokens(
    scale: float, input_tokens: int, output_tokens: int
) -> None:
    request = Request(0.0, input_tokens, output_tokens, (1, 2, 3))
    trace = replace(TIMED, requests=(request, request))
    workload, _ = workload_from(trace, name="chat", requests=2, seed=0, scale_tokens=scale)
    for scaled in workload.requests:
        assert scaled.input_tokens == max(1, round(input_tokens * scale))
        assert scaled.output_tokens == max(1, round(output_tokens * scale))
        assert len(scaled.blocks) == min(3, scaled.input_tokens // 16)


def test_ticks_are_spread_within_themselves() -> None:
    workload, notes = workload_from(TICKED, name="chat", requests=40, seed=0)
    times = [request.arrival_s for request in workload.requests]
    assert len(set(times)) == 40
    assert [request.blocks for request in workload.requests] != [r.blocks for r in TICKED.requests]
    # The first of four in a tick moves by less than the tick, and all times by the first's move.
    ticks = [request.blocks[2] // 4 for request in workload.requests]
    assert ticks == sorted(ticks)
    assert all(
        3.0 * (tick - 1) < time < 3.0 * (tick + 1) for tick, time in zip(ticks, times, strict=True)
    )
    assert notes == (
        "arrival stamps come in 3 s ticks; spread uniformly within each tick with the seed",
    )


def test_requests_longer_than_the_context_are_left_out() -> None:
    workload, notes = workload_from(TIMED, name="chat", requests=5, seed=0, longest_tokens=118)
    assert [request.input_tokens for request in workload.requests] == [100, 101, 102, 103, 104]
    assert notes == (SKIPPED, "1 request longer than 118 tokens left out")


def test_a_request_rate_stretches_the_spacing() -> None:
    workload, _ = workload_from(TIMED, name="chat", requests=6, seed=0, request_rate=1.0)
    assert workload.requests == tuple(
        Request(float(second), 100 + second, 10 + second) for second in range(6)
    )


def test_lengths_only_are_drawn_with_poisson_arrivals() -> None:
    workload, notes = workload_from(LENGTHS, name="sum", requests=2000, seed=0)
    pairs = [(r.input_tokens, r.output_tokens) for r in workload.requests]
    assert set(pairs) == {(3772, 54), (76, 2958)}
    assert (workload.name, workload.source) == ("sum", "arxiv.csv (lengths only)")
    assert workload.request_rate == pytest.approx(1.0, rel=0.1)
    assert notes == (
        "2,000 pairs of lengths are drawn from 2 with the seed",
        "arrivals are Poisson because the file has none",
    )


def test_lengths_only_arrive_at_the_wanted_rate() -> None:
    workload, _ = workload_from(LENGTHS, name="sum", requests=50, seed=0, request_rate=8.0)
    assert workload.request_rate == pytest.approx(8.0)


def test_prefixes_of_a_file_without_times_are_said_to_be_dropped() -> None:
    trace = replace(LENGTHS, requests=(Request(0.0, 64, 2, (1, 2)),))
    _, notes = workload_from(trace, name="sum", requests=2, seed=0)
    assert notes[-1] == "the file's shared prefixes are not replayed"


@settings(deadline=None)
@given(st.integers(), st.sampled_from([TIMED, LENGTHS, TICKED]), st.integers(2, 50))
def test_the_same_seed_gives_the_same_requests(seed: int, trace: Trace, requests: int) -> None:
    first = workload_from(trace, name="w", requests=requests, seed=seed)
    assert workload_from(trace, name="w", requests=requests, seed=seed) == first
    assert first[0].requests[0].arrival_s == 0.0


def test_another_seed_gives_other_requests() -> None:
    workloads = {workload_from(TICKED, name="w", requests=30, seed=seed)[0] for seed in range(5)}
    assert len(workloads) == 5


AT_ONCE = replace(TIMED, requests=(Request(0.0, 9, 2), Request(0.0, 9, 2)))


@pytest.mark.parametrize(
    ("trace", "settings", "message"),
    [
        (TIMED, {"requests": 1}, "`requests >= 2` must hold, but got 1; change it."),
        (
            TIMED,
            {"scale_tokens": 0.0},
            "`0 < scale_tokens <= 1000` must hold, but got 0.0; change it.",
        ),
        (
            TIMED,
            {"scale_tokens": float("nan")},
            "`0 < scale_tokens <= 1000` must hold, but got nan; change it.",
        ),
        (TIMED, {"request_rate": 0.0}, "`request_rate > 0` must hold, but got 0.0; change it."),
        (
            TIMED,
            {"window": (2.0, 1.0)},
            "`0 <= start < end of the window` must hold, but got (2.0, 1.0); change it.",
        ),
        (
            TIMED,
            {"window": (9.0, 10.0)},
            "the window 9 s to 10 s of azure.csv holds fewer than two requests: a load of zero "
            "measures nothing; choose one within 0 s to 2.5 s.",
        ),
        (
            LENGTHS,
            {"window": (0.0, 1.0)},
            "arxiv.csv has no arrival times to cut a window from; drop the window.",
        ),
        (
            TIMED,
            {"longest_tokens": 110},
            "`longest_tokens` leaves 1 of the requests of azure.csv; a replay needs at least two "
            "requests, so raise it or lower `scale_tokens`.",
        ),
        (
            AT_ONCE,
            {"request_rate": 2.0},
            "the requests replayed from azure.csv (Azure 2023) all arrive at once, which no "
            "`request_rate` can stretch; drop it or choose another window.",
        ),
        (
            TIMED,
            {"request_rate": 1e-320},
            "`request_rate` = 9.99989e-321 puts arrivals beyond any time; raise it.",
        ),
    ],
)
def test_a_setting_that_cannot_be_kept_is_refused(
    trace: Trace, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(BadInput) as caught:
        workload_from(trace, **{"name": "w", "requests": 2, "seed": 0} | settings)  # type: ignore[arg-type]
    assert str(caught.value) == message
