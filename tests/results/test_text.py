from typing import Any

import pytest

from objectives import Quadrant
from results.text import render

DEFAULT: dict[str, Any] = {
    "max_num_seqs": 1024,
    "max_num_batched_tokens": 8192,
    "tensor_parallel_size": 1,
    "batch_wait_timeout_ms": 0,
    "enable_prefix_caching": True,
    "data_parallel_size": 4,
}
PAIRS = {**DEFAULT, "tensor_parallel_size": 2, "data_parallel_size": 2}
WAITING = {**PAIRS, "batch_wait_timeout_ms": 20}
OFFERED = {
    "request_rate": 7.5,
    "p95_ttft_ms": 284.31,
    "p95_tpot_ms": 28.1,
    "mean_running": 12.34,
}
CAPACITY = {
    "capacity": 11.04,
    "capacity_per_gpu": 2.76,
    "output_throughput_per_gpu": 2846.7,
    "gpus_needed": 3,
    "headroom": 0.3207,
    "cost_per_million_output_tokens_usd": None,
}
QUADRANTS = ("live-at-scale", "interactive", "economy", "bulk")


def loads(**changes: Any) -> dict[str, Any]:
    """Both loads, changed where a metric is named."""
    return {
        "offered": {k: changes.get(k, v) for k, v in OFFERED.items()},
        "capacity": {k: changes.get(k, v) for k, v in CAPACITY.items()},
    }


def kept(metric: str, value: float | None, limit: float, **changes: Any) -> dict[str, Any]:
    judgement = {"limit": limit, "value": value, "share": 0.985, "verdict": "met"}
    return {f"{metric}<={limit:g}": {**judgement, **changes}}


def best(metric: str, value: float, ratio: float | None, **changes: Any) -> dict[str, Any]:
    return {
        "config": PAIRS,
        "loads": loads(p95_ttft_ms=212.4, capacity=14.8, capacity_per_gpu=3.7, headroom=0.493),
        "sla": {**kept("p95_tpot_ms", 28.1, 40), **kept("p95_ttft_ms", 212.4, 500)},
        "goal": {"metric": metric, "value": value},
        "trial": 12,
        "gain": None if ratio is None else {"ratio": ratio, "low": None, "high": None},
        "baseline_keeps_sla": True,
        "confirmed": False,
        "ours": None,
        **changes,
    }


def summary(**changes: Any) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "study": "chat-monday",
        "objective": "chat",
        "engine": "simulated",
        "engine_version": "vLLM 0.32 scheduler",
        "simulated": True,
        "uncertainty": "uncalibrated: within 30 %",
        "hardware": {"gpu": "h100_sxm", "gpus": 4},
        "model": "qwen3-8b",
        "workloads": {
            "chat": {
                "quadrant": "interactive",
                "source": "azure2023_conv.csv",
                "requests": 600,
                "request_rate": 7.5,
            }
        },
        "seed": 0,
        "trials": {"done": 40, "feasible": 31, "infeasible": 7, "failed": 2, "stopped_early": 0},
        "cost": {"wall_s": 72.4, "engine_s": 3790.0, "launches": 40, "gpu_hours": 4.211},
        "baseline": {"config": DEFAULT, "loads": loads(), "sla": {}},
        "best": {
            "live-at-scale": best("capacity_per_gpu", 3.7, 1.3406),
            "interactive": best("p95_ttft_ms", 212.4, 1.3386),
            "economy": best("gpus_needed", 3, 1.0, config=DEFAULT, trial=0),
            "bulk": None,
        },
        "regret": {
            "live-at-scale": dict(zip(QUADRANTS, (0.0, 0.0, 0.254, None), strict=True)),
            "interactive": dict(zip(QUADRANTS, (0.0, 0.0, 0.253, None), strict=True)),
            "economy": dict(zip(QUADRANTS, (0.0, 0.0, 0.0, None), strict=True)),
            "bulk": dict.fromkeys(QUADRANTS),
        },
        "front": [],
        "unused_knobs": ["max_num_seqs"],
        "infeasible": None,
        **changes,
    }


def shown(study: dict[str, Any], width: int = 96) -> str:
    return render(study, folder="studies/chat-monday", width=width)


def sections(study: dict[str, Any], width: int = 96) -> list[str]:
    return shown(study, width).split("\n\n")


def section(study: dict[str, Any], start: str, width: int = 96) -> str:
    """The section that begins so."""
    return next(text for text in sections(study, width) if text.startswith(start))


WHOLE = """\
All figures are simulated, not measured on a GPU (uncalibrated: within 30 %).

Study chat-monday | objective chat | qwen3-8b on 4 x h100_sxm | engine simulated, vLLM 0.32
scheduler | chat traffic: 600 requests at 7.5 req/s, azure2023_conv.csv | seed 0

The chat traffic served four ways: II under the SLA of chat, the others under those of I rag,
III reasoning, IV summarize. Capacity and GPUs needed are those at which the SLA of chat holds.

                                            p95 TTFT  p95 TPOT  capacity  saturated  gain on
     quadrant       trial  goal                   ms        ms     req/s  tok/s/GPU  default
I    live-at-scale     12  3.7 req/s/GPU         212      28.1      14.8       2850  1.34x
II   interactive       12  212 ms p95 TTFT       212      28.1      14.8       2850  1.34x
III  economy            0  3 GPUs                212      28.1      14.8       2850  none
IV   bulk               -  no config of the stock engine met its SLA

Not yet confirmed with fresh seeds.

I live-at-scale, trial 12
  config    tensor_parallel_size 2, data_parallel_size 2
  SLA       p95 TPOT 28.1 of 40 ms (30 % to spare), within it 98.5 % of requests (95 % promised)
            p95 TTFT 212 of 500 ms (58 % to spare), within it 98.5 % of requests (95 % promised)
  gain      1.34x the default's capacity_per_gpu
  sizing    3 of 4 GPUs needed for the offered load, headroom 49 %, mean running batch 12.3

II interactive, trial 12
  config    tensor_parallel_size 2, data_parallel_size 2
  SLA       p95 TPOT 28.1 of 40 ms (30 % to spare), within it 98.5 % of requests (95 % promised)
            p95 TTFT 212 of 500 ms (58 % to spare), within it 98.5 % of requests (95 % promised)
  gain      the default's p95 TTFT is 1.34x this
  sizing    3 of 4 GPUs needed for the offered load, headroom 49 %, mean running batch 12.3

III economy, trial 0
  config    the default config
  SLA       p95 TPOT 28.1 of 40 ms (30 % to spare), within it 98.5 % of requests (95 % promised)
            p95 TTFT 212 of 500 ms (58 % to spare), within it 98.5 % of requests (95 % promised)
  gain      no gain over the default
  sizing    3 of 4 GPUs needed for the offered load, headroom 49 %, mean running batch 12.3

What a quadrant (row) loses with another's config (column); - where that config breaks its SLA,
was not measured on its traffic, or there is no winner:
                   I   II   III  IV
I live-at-scale  0 %  0 %  25 %   -
II interactive   0 %  0 %  25 %   -
III economy      0 %  0 %   0 %   -
IV bulk            -    -     -   -

Turned alone, these made no difference: max_num_seqs.

Tried 40 configs: 31 feasible, 7 infeasible, 2 failed.
Took 1 min 12 s, engine time 1 h 3 min (simulated), 40 launches, 4.21 GPU-hours (simulated).

Files:
  studies/chat-monday/best/live-at-scale.yaml
  studies/chat-monday/best/interactive.yaml
  studies/chat-monday/best/economy.yaml
  studies/chat-monday/summary.json
Next:
  vllm serve --config studies/chat-monday/best/interactive.yaml"""


def test_the_text_answers_in_order_from_how_far_to_trust_it_to_what_to_type_next() -> None:
    assert shown(summary()) == WHOLE


def test_a_default_that_could_carry_three_times_the_load_is_the_first_thing_said() -> None:
    baseline = {"config": DEFAULT, "loads": loads(capacity=31.2, gpus_needed=1), "sla": {}}
    assert (
        sections(summary(baseline=baseline))[0]
        == """\
The question is how few GPUs, not which flags: the default config's capacity for this traffic is
31.2 req/s, 4.16x the offered 7.5 req/s, and 1 of the 4 GPUs would do. All figures are
simulated, not measured on a GPU (uncalibrated: within 30 %)."""
    )


def test_a_default_at_exactly_three_times_the_load_is_not_too_much() -> None:
    baseline = {"config": DEFAULT, "loads": loads(capacity=22.5), "sla": {}}
    assert sections(summary(baseline=baseline))[0] == (
        "All figures are simulated, not measured on a GPU (uncalibrated: within 30 %)."
    )


def test_a_real_engine_is_not_called_simulated() -> None:
    study = summary(simulated=False, engine="vllm", engine_version="0.32.0")
    assert "simulated" not in shown(study)
    assert sections(study)[0].startswith("Study chat-monday | objective chat | ")


@pytest.mark.parametrize(
    ("workload", "said"),
    [
        ({"concurrency": 8, "source": "s"}, "chat traffic: with 8 in flight, s"),
        ({"request_rate": None, "requests": 50}, "50 requests all at once, source not known"),
        ({}, "chat traffic: all at once, source not known"),
    ],
)
def test_traffic_without_a_rate_is_told_by_what_it_has(workload: Any, said: str) -> None:
    workloads = {"chat": {"quadrant": "interactive", **workload}}
    assert said in shown(summary(workloads=workloads), width=200)


def test_where_the_table_does_not_fit_each_quadrant_says_it_in_its_block() -> None:
    study = summary()
    study["best"]["bulk"] = best("output_throughput_per_gpu", 2846.7, None)
    text = shown(study, width=60)
    assert max(map(len, text.splitlines()[:-7])) <= 60
    assert (
        section(study, "IV", width=60)
        == """\
IV bulk, trial 12
  goal      2850 tok/s/GPU
  measured  p95 TTFT 212 ms, p95 TPOT 28.1 ms, capacity
            14.8 req/s, saturated 2850 tok/s/GPU
  config    tensor_parallel_size 2, data_parallel_size 2
  SLA       p95 TPOT 28.1 of 40 ms (30 % to spare), within
            it 98.5 % of requests (95 % promised)
            p95 TTFT 212 of 500 ms (58 % to spare), within
            it 98.5 % of requests (95 % promised)
  gain      not known: the default config gives nothing to
            compare with
  sizing    3 of 4 GPUs needed for the offered load,
            headroom 49 %, mean running batch 12.3"""
    )


def test_a_winner_with_our_scheduler_class_is_shown_beside_the_stock_one() -> None:
    ours = {"config": WAITING, "trial": 31, "extra_gain": 0.057}
    study = summary(best={"bulk": best("output_throughput_per_gpu", 2846.7, 1.1, ours=ours)})
    assert section(study, "IV").splitlines()[-2:] == [
        "  ours      with our scheduler class: 1.06x better (trial 31: batch_wait_timeout_ms 20):",
        "            --allow-scheduler-class",
    ]


@pytest.mark.parametrize(
    ("changes", "cell", "sentence"),
    [
        ({}, "1.34x", "1.34x the default's capacity_per_gpu"),
        ({"gain": {"ratio": 1.01, "low": None, "high": None}}, "none", "no gain over the default"),
        ({"gain": {"ratio": 1.2, "low": 0.99, "high": 1.4}}, "none", "no gain over the default"),
        (
            {"gain": {"ratio": 1.3, "low": 1.21, "high": 1.404}},
            "1.3x",
            "1.3x the default's capacity_per_gpu (95 % interval 1.21x to 1.4x)",
        ),
        ({"baseline_keeps_sla": False}, "it breaks SLA", "the default breaks this SLA"),
        (
            {"gain": None, "baseline_keeps_sla": False},
            "not known",
            "not known: the default config gives nothing to compare with",
        ),
        (
            {"goal": {"metric": "p95_ttft_ms", "value": 212.4}},
            "1.34x",
            "the default's p95 TTFT is 1.34x this",
        ),
        (
            {"goal": {"metric": "gpus_needed", "value": 1}},
            "1.34x",
            "the default needs 1.34x the GPUs",
        ),
    ],
)
def test_a_gain_is_told_by_what_it_is_a_gain_in(
    changes: dict[str, Any], cell: str, sentence: str
) -> None:
    study = summary(best={"live-at-scale": best("capacity_per_gpu", 3.7, 1.3406, **changes)})
    table = section(study, "   ")
    assert table.splitlines()[2].endswith(f"  2850  {cell}")
    assert f"\n  gain      {sentence}\n" in section(study, "I live")


def test_settings_that_never_showed_an_effect_come_last() -> None:
    config = {**DEFAULT, "max_num_seqs": 64, "enable_prefix_caching": False}
    study = summary(best={"interactive": best("p95_ttft_ms", 212.4, 1.3, config=config)})
    assert section(study, "II").splitlines()[1] == (
        "  config    enable_prefix_caching false; no effect seen: max_num_seqs 64"
    )


def test_without_a_measured_default_the_whole_config_is_shown() -> None:
    study = summary(baseline=None)
    assert section(study, "II").splitlines()[1:3] == [
        "  config    max_num_seqs 1024, max_num_batched_tokens 8192, tensor_parallel_size 2,",
        "            batch_wait_timeout_ms 0, enable_prefix_caching true, data_parallel_size 2",
    ]


def infeasible(
    binding: str,
    limit: float,
    would_hold_at: float,
    verdict: str,
    besides: dict[str, Any] | None = None,
) -> dict[str, Any]:
    return {
        "nearest": {
            "config": PAIRS,
            "trial": 9,
            "loads": loads(),
            "sla": {
                binding: {"limit": limit, "value": 31.37, "share": 0.91, "verdict": verdict},
                **(besides or {}),
            },
        },
        "binding": binding,
        "price": {"limit": limit, "would_hold_at": would_hold_at, "verdict": verdict},
    }


def test_a_study_without_a_winner_names_the_nearest_and_the_promise_that_would_hold() -> None:
    found = infeasible("p95_tpot_ms<=27", 27.0, 31.31, "broken")
    study = summary(infeasible=found, best=dict.fromkeys(QUADRANTS))
    assert (
        section(study, "No winner")
        == """\
No winner for interactive: no config of the stock engine met its SLA.
  nearest   trial 9
  config    tensor_parallel_size 2, data_parallel_size 2
  SLA       p95 TPOT 31.4 of 27 ms (16 % over), within it 91 % of requests (95 % promised)
  binding   p95_tpot_ms<=27 would have to be 31.4"""
    )
    assert sections(study)[-1] == "Files:\n  studies/chat-monday/summary.json"
    assert "with another's config" not in shown(study)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (
            infeasible("p95_tpot_ms<=27", 27.0, 26.9, "undecided"),
            "p95_tpot_ms<=27 is undecided: more requests would decide it (--requests)",
        ),
        (
            infeasible("p95_tpot_ms<=27", 27.0, 216.0, "broken"),
            "p95_tpot_ms<=27 would have to be over 216",
        ),
        (
            infeasible("request_throughput>=27", 27.0, 21.38, "broken"),
            "request_throughput>=27 would have to be 21.3",
        ),
        (
            infeasible("request_throughput>=27", 27.0, 3.375, "broken"),
            "request_throughput>=27 would have to be under 3.38",
        ),
        (
            {"nearest": None, "binding": "p95_tpot_ms<=27", "price": None},
            "p95_tpot_ms<=27 is missed by most",
        ),
    ],
)
def test_the_price_of_a_promise_is_rounded_to_the_side_that_holds(
    found: dict[str, Any], said: str
) -> None:
    study = summary(infeasible=found, best=dict.fromkeys(QUADRANTS))
    assert section(study, "No winner").splitlines()[-1] == f"  binding   {said}"


def test_other_broken_promises_are_named_beside_the_binding_one() -> None:
    besides = kept("p95_ttft_ms", 612.0, 500, verdict="broken", share=0.8)
    found = infeasible("p95_tpot_ms<=27", 27.0, 216.0, "broken", besides)
    study = summary(infeasible=found, best=dict.fromkeys(QUADRANTS))
    assert section(study, "No winner").splitlines()[-1] == (
        "  binding   p95_tpot_ms<=27 would have to be over 216; besides, p95_ttft_ms<=500 is "
        "broken"
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"gpus_needed": 1650, "headroom": -94.6},
            "1650 GPUs needed for the offered load, offered 95.6x its capacity, ",
        ),
        (
            {"gpus_needed": 4, "headroom": 0.0},
            "4 of 4 GPUs needed for the offered load, headroom 0 %, ",
        ),
        ({"gpus_needed": None, "headroom": None}, ""),
    ],
)
def test_sizing_says_what_is_left_over_or_missing(changes: dict[str, Any], said: str) -> None:
    measured = {**loads(**changes), "offered": {**OFFERED, "mean_running": 17.42}}
    study = summary(best={"bulk": best("output_throughput_per_gpu", 1.0, 1.0, loads=measured)})
    assert (
        section(study, "IV", width=200).splitlines()[-1]
        == f"  sizing    {said}mean running batch 17.4"
    )


def test_a_price_per_token_is_told_where_there_is_one() -> None:
    measured = loads(cost_per_million_output_tokens_usd=0.0722)
    study = summary(best={"economy": best("gpus_needed", 3, 1.0, loads=measured)})
    assert section(study, "III").endswith("0.0722 USD per million output tokens")


def test_with_the_offered_load_alone_throughput_has_no_winner_and_says_so() -> None:
    offered = {"offered": OFFERED}
    study = summary(
        baseline={"config": DEFAULT, "loads": offered, "sla": {}},
        best={"interactive": best("p95_ttft_ms", 212.4, 1.3, loads=offered)},
    )
    assert (
        section(study, "   ")
        == """\
                                            p95 TTFT  p95 TPOT  capacity  saturated  gain on
     quadrant       trial  goal                   ms        ms     req/s  tok/s/GPU  default
I    live-at-scale      -  capacity was not measured (--load offered)
II   interactive       12  212 ms p95 TTFT       284      28.1         -          -  1.3x
III  economy            -  no config of the stock engine met its SLA
IV   bulk               -  saturated throughput was not measured (--load offered)"""
    )
    assert section(study, "II").splitlines()[-1] == "  sizing    mean running batch 12.3"
    assert "Capacity and GPUs needed" not in shown(study)


@pytest.mark.parametrize(
    ("done", "reason"), [(3, "no config could be served"), (0, "no config was tried")]
)
def test_a_study_in_which_nothing_was_served_says_so(done: int, reason: str) -> None:
    trials = {"done": done, "feasible": 0, "infeasible": 0, "failed": done, "stopped_early": 0}
    study = summary(trials=trials, baseline=None, best=dict.fromkeys(QUADRANTS), unused_knobs=[])
    rows = section(study, "   ").splitlines()[2:]
    assert [row.split("-  ")[-1] for row in rows] == [reason] * 4
    assert section(study, "Of no") == "Of no knob can it be said that it made no difference."


def test_all_serves_each_quadrant_its_own_traffic_and_starts_any_of_them() -> None:
    study = summary(
        objective="all",
        best={q: best("p95_ttft_ms", 212.4, 1.3) for q in QUADRANTS},
        workloads={q: {"quadrant": q} for q in QUADRANTS},
    )
    assert section(study, "Each", width=90) == (
        "Each quadrant on the traffic and under the SLA of its objective: I rag, II chat,\n"
        "III reasoning, IV summarize."
    )
    heads = [text.splitlines()[0] for text in sections(study) if text.startswith("I")]
    assert heads == [
        "I live-at-scale, trial 12 (rag traffic)",
        "II interactive, trial 12 (chat traffic)",
        "III economy, trial 12 (reasoning traffic)",
        "IV bulk, trial 12 (summarize traffic)",
    ]
    assert sections(study)[-1].splitlines()[-5:] == [
        "Next:",
        *(f"  vllm serve --config studies/chat-monday/best/{q}.yaml" for q in QUADRANTS),
    ]


def test_a_study_file_has_its_own_name_and_a_known_quadrant() -> None:
    named = summary(objective="mine", workloads={"mine": {"quadrant": "bulk"}})
    assert "IV under the SLA of mine, the others under" in shown(named)


def test_winners_already_confirmed_are_left_out_of_what_is_still_open() -> None:
    study = summary()
    study["best"]["interactive"]["confirmed"] = True
    assert section(study, "Not yet") == "Not yet confirmed with fresh seeds (I, III)."
    for name in ("live-at-scale", "economy"):
        study["best"][name]["confirmed"] = True
    assert "confirmed" not in shown(study)


def test_a_folder_with_spaces_can_be_pasted() -> None:
    text = render(summary(), folder="my studies/", width=96)
    assert text.splitlines()[-1] == ("  vllm serve --config 'my studies/best/interactive.yaml'")


def test_the_summary_may_hold_quadrants_or_their_names() -> None:
    study = summary()
    for key in ("best", "regret"):
        study[key] = {Quadrant(name): value for name, value in study[key].items()}
    assert shown(study) == WHOLE


@pytest.mark.parametrize("width", [1, 40, 77, 300])
def test_any_width_can_be_asked_for(width: int) -> None:
    lines = shown(summary(), width).splitlines()
    free = [line for line in lines if "studies/" not in line]
    assert max(map(len, free)) <= max(40, width)
