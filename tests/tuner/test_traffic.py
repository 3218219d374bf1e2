import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from objectives import Request, Workload
from tuner import presets
from tuner.errors import BadInput
from tuner.options import Options
from tuner.traffic import Traffic, traffic

LENGTHS = {"input_tokens": 100, "output_tokens": 20}


def traffic_of(objective: str, *, longest_tokens: int = 8192, **options: Any) -> Traffic:
    asked = Options(**{"objective": objective, "requests": 6, **options})
    return traffic(presets.load(objective), asked, longest_tokens=longest_tokens)


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    rows = "".join(f"{2 * n},{100 + n},{10 + n}\n" for n in range(6))
    path = tmp_path / "mine.csv"
    path.write_text("arrival_s,input_tokens,output_tokens\n" + rows)
    return path


@pytest.fixture
def study(trace: Path) -> Path:
    """A study file beside the trace."""
    return trace.with_name("mine.yaml")


def test_a_users_trace_runs_at_its_own_rate(trace: Path) -> None:
    flow = traffic_of("chat", workload=trace)
    assert flow.workload.requests == tuple(Request(2.0 * n, 100 + n, 10 + n) for n in range(6))
    assert (flow.workload.source, flow.notes) == ("mine.csv (paretune)", ())
    assert not flow.sized_to_default


def test_a_shipped_trace_is_sized_to_the_default_config() -> None:
    flow = traffic_of("chat")
    assert flow.sized_to_default
    assert flow.workload.source == "azure2023_conv.csv (Azure 2023)"
    assert len(flow.notes) == 1


def test_a_preset_without_a_trace_draws_its_requests() -> None:
    flow = traffic_of("rag")
    assert (len(flow.workload.requests), flow.sized_to_default) == (6, True)


def test_lengths_without_times_are_sized_to_the_default_config(tmp_path: Path) -> None:
    file = tmp_path / "lengths.csv"
    file.write_text("input_tokens,output_tokens\n9,3\n8,2\n")
    assert traffic_of("chat", workload=file).sized_to_default


def test_lengths_may_be_typed() -> None:
    flow = traffic_of("chat", **LENGTHS)
    assert {(r.input_tokens, r.output_tokens) for r in flow.workload.requests} == {(100, 20)}
    assert flow.workload.source == "lengths from the command line, Poisson arrivals"
    spread = traffic_of("chat", **LENGTHS, length_spread=0.5, requests=200).workload
    assert {50 <= r.input_tokens <= 100 for r in spread.requests} == {True}
    assert len({r.input_tokens for r in spread.requests}) > 30


@pytest.mark.parametrize(
    ("objective", "arrivals", "sized"),
    [
        ("chat", "Poisson arrivals", True),
        ("agent", "gamma arrivals (CV 2.9)", True),
        ("offline", "all at once", False),
    ],
)
def test_typed_lengths_arrive_as_the_objectives_requests_do(
    objective: str, arrivals: str, sized: bool
) -> None:
    flow = traffic_of(objective, **LENGTHS)
    assert flow.workload.source == f"lengths from the command line, {arrivals}"
    assert flow.sized_to_default is sized


def test_a_shared_prefix_may_be_asked_for() -> None:
    flow = traffic_of("rag", **LENGTHS, prefix_share=0.5)
    assert {r.blocks for r in flow.workload.requests} == {(0, 1, 2)}


def test_a_rate_or_a_concurrency_replaces_the_traffics_own(trace: Path) -> None:
    faster = traffic_of("chat", workload=trace, request_rate=5.0)
    closed = traffic_of("chat", workload=trace, concurrency=3)
    assert faster.workload.request_rate == pytest.approx(5.0)
    assert (closed.workload.concurrency, closed.workload.request_rate) == (3, math.inf)
    assert [r.arrival_s for r in closed.workload.requests] == [0.0] * 6
    assert (faster.sized_to_default, closed.sized_to_default) == (False, False)
    assert not traffic_of("chat", **LENGTHS, concurrency=3).sized_to_default


def test_a_trace_may_be_scaled(trace: Path) -> None:
    flow = traffic_of("chat", workload=trace, scale_tokens=2.0)
    assert flow.workload.requests[0] == Request(0.0, 200, 20)


def test_the_seed_decides_the_requests_and_nothing_else_does() -> None:
    assert traffic_of("rag", seed=1) == traffic_of("rag", seed=1)
    assert traffic_of("rag", seed=1) != traffic_of("rag", seed=2)


def test_requests_longer_than_the_model_are_left_out_and_told() -> None:
    flow = traffic_of("rag", requests=50, longest_tokens=3000)
    kept = len(flow.workload.requests)
    assert 2 < kept < 50
    assert flow.notes == (f"{50 - kept} requests longer than 3000 tokens left out",)


def test_traffic_of_which_nothing_fits_is_refused() -> None:
    with pytest.raises(BadInput) as caught:
        traffic_of("chat", input_tokens=5000, output_tokens=10, longest_tokens=4096)
    assert str(caught.value) == (
        "0 of the 6 requests of the chat traffic fit into 4096 tokens: a load of zero measures "
        "nothing; ask for shorter lengths or a larger max_model_len."
    )


def test_synthetic_traffic_is_not_scaled() -> None:
    with pytest.raises(BadInput) as caught:
        traffic_of("rag", scale_tokens=2.0)
    assert str(caught.value) == (
        "--scale-tokens is for traces, but the rag traffic is synthetic; give --input-tokens and "
        "--output-tokens."
    )


def test_traffic_that_would_last_for_decades_is_refused(study: Path) -> None:
    study.write_text("extends: chat\nworkload: {trace: long.csv}\n")
    study.with_name("long.csv").write_text(
        "arrival_s,input_tokens,output_tokens\n0,9,2\n2e9,9,2\n"
    )
    with pytest.raises(BadInput) as caught:
        traffic_of(str(study))
    assert str(caught.value) == "The mine traffic lasts 2e+09 s; raise its rate."


def test_a_study_files_trace_is_the_users_own(study: Path) -> None:
    study.write_text("extends: chat\nworkload: {trace: mine.csv}\n")
    flow = traffic_of(str(study))
    assert (len(flow.workload.requests), flow.sized_to_default) == (6, False)
    assert flow.workload.name == "mine"


def test_a_study_file_cuts_scales_and_speeds_its_trace(study: Path) -> None:
    study.write_text(
        "extends: chat\n"
        "workload:\n"
        "  trace: mine.csv\n"
        "  window: [2, 8]\n"
        "  scale_tokens: 0.5\n"
        "  arrivals: {request_rate: 4}\n"
    )
    flow = traffic_of(str(study), scale_tokens=4.0)
    assert flow.workload.requests == (
        Request(0.0, 202, 22),
        Request(0.25, 204, 24),
        Request(0.5, 206, 26),
    )
    assert not flow.sized_to_default


@pytest.mark.parametrize(
    ("arrivals", "concurrency"),
    [("{process: closed-loop, concurrency: 4}", 4), ("{process: all-at-once}", None)],
)
def test_a_study_file_sends_its_trace_in_a_closed_loop_or_at_once(
    study: Path, arrivals: str, concurrency: int | None
) -> None:
    study.write_text(f"extends: chat\nworkload: {{trace: mine.csv, arrivals: {arrivals}}}\n")
    flow = traffic_of(str(study))
    assert flow.workload.concurrency == concurrency
    assert [r.arrival_s for r in flow.workload.requests] == [0.0] * 6
    assert not flow.sized_to_default


def test_a_study_files_recipe_offers_the_rate_it_names(study: Path) -> None:
    recipe = "{lengths: {input: {tokens: 9}, output: {tokens: 3}}, arrivals: {%s}}"
    for rate, sized in (
        ("request_rate: 4, process: constant", False),
        ("process: constant", True),
    ):
        study.write_text(f"extends: chat\nworkload: {recipe % rate}\n")
        flow = traffic_of(str(study))
        assert flow.sized_to_default is sized
        assert flow.workload.request_rate == pytest.approx(1.0 if sized else 4.0)


def test_an_offline_batch_arrives_at_once() -> None:
    flow = traffic_of("offline")
    assert [r.arrival_s for r in flow.workload.requests] == [0.0] * 6
    assert not flow.sized_to_default


def lengths(workload: Workload) -> list[tuple[int, int]]:
    return [(r.input_tokens, r.output_tokens) for r in workload.requests]


def gaps(workload: Workload) -> list[float]:
    return [b.arrival_s - a.arrival_s for a, b in pairwise(workload.requests)]


def draws(flow: Traffic) -> list[Workload]:
    return [flow.workload, *flow.redrawn]


@pytest.mark.parametrize(
    ("objective", "options"),
    [
        ("chat", {}),
        ("rag", {}),
        ("agent", {}),
        ("chat", {**LENGTHS, "request_rate": 5.0}),
        ("rag", {"concurrency": 3}),
        ("offline", {}),
        ("offline", {"request_rate": 5.0}),
    ],
)
def test_traffic_is_drawn_once_more_for_the_search_and_once_for_each_pair(
    objective: str, options: dict[str, Any]
) -> None:
    flow = traffic_of(objective, requests=60, pairs=5, **options)
    assert len(flow.redrawn) == 6
    found = draws(flow)
    assert len({one.requests for one in found}) == 7
    assert {one.name for one in found} == {objective}
    assert {one.concurrency for one in found} == {flow.workload.concurrency}
    rates = [one.request_rate for one in found]
    assert rates == pytest.approx([flow.workload.request_rate] * 7, rel=1e-9)


def test_without_pairs_there_is_one_more_draw_for_the_search() -> None:
    assert len(traffic_of("rag", pairs=0).redrawn) == 1


def test_more_pairs_leave_the_draws_of_fewer_as_they_were() -> None:
    five, nine = (traffic_of("rag", pairs=pairs).redrawn for pairs in (5, 9))
    assert nine[:6] == five


def test_the_seed_decides_what_is_drawn_anew() -> None:
    assert traffic_of("rag", seed=1).redrawn == traffic_of("rag", seed=1).redrawn
    first, other = ({w.requests for w in traffic_of("rag", seed=s).redrawn} for s in (1, 2))
    assert not first & other


def test_a_users_trace_that_is_replayed_in_full_is_begun_elsewhere(trace: Path) -> None:
    flow = traffic_of("chat", workload=trace, seed=3)
    in_order = lengths(flow.workload)
    circles = [in_order[first:] + in_order[:first] for first in range(1, 6)]
    for draw in flow.redrawn:
        assert lengths(draw) in circles
        assert draw.requests[0].arrival_s == 0.0
        assert draw.request_rate == pytest.approx(flow.workload.request_rate)


def test_what_is_begun_elsewhere_keeps_its_gaps_to_a_common_factor(tmp_path: Path) -> None:
    arrivals = [0.0, 1.0, 1.5, 4.0, 4.2, 9.0]
    rows = "".join(f"{t},{100 + n},10\n" for n, t in enumerate(arrivals))
    path = tmp_path / "bursty.csv"
    path.write_text("arrival_s,input_tokens,output_tokens\n" + rows)
    flow = traffic_of("chat", workload=path)
    # After the last request as long as between two on average.
    around = [*gaps(flow.workload), 9.0 / 5]
    for draw in flow.redrawn:
        first = draw.requests[0].input_tokens - 100
        kept = (around[first:] + around[:first])[:5]
        factor = 9.0 / sum(kept)
        assert gaps(draw) == pytest.approx([gap * factor for gap in kept])


def test_a_trace_of_whole_seconds_is_begun_elsewhere_too(tmp_path: Path) -> None:
    rows = "".join(f"2024-05-10 00:00:0{n // 2},{100 + n},10\n" for n in range(8))
    path = tmp_path / "coarse.csv"
    path.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n" + rows)
    flow = traffic_of("chat", workload=path, requests=8)
    in_order = lengths(flow.workload)
    assert all(lengths(draw) != in_order for draw in flow.redrawn)


def test_a_longer_trace_is_replayed_from_another_stretch() -> None:
    flow = traffic_of("chat", requests=60)
    assert len({tuple(lengths(one)) for one in draws(flow)}) == 7


def test_a_draw_leaves_out_what_is_too_long_by_itself() -> None:
    flow = traffic_of("rag", requests=50, longest_tokens=3000)
    assert {one.longest_tokens <= 3000 for one in draws(flow)} == {True}
    assert len({len(one.requests) for one in draws(flow)}) > 1
