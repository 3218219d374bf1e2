import json
from collections.abc import Collection
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objectives import Judgement, Profile, Quadrant, Verdict, parse_sla
from results.quadrants import Selection
from results.record import TrialRecord
from results.summary import StudyFacts, sla_json, summarise
from results.ties import Ties
from search_spaces import Choice, Int, Knob, SearchSpace

LIVE, INTERACTIVE, ECONOMY, BULK = Quadrant
SLA = "p95_tpot_ms<=40,p95_ttft_ms<=500"
FAILURE = {"kind": "died", "detail": "signal 9"}
KNOBS = (
    Knob(name="max_num_seqs", default=256, domain=Int(low=1, high=1024), about="batch"),
    Knob(name="wait_ms", default=0, domain=Choice((0, 20)), about="wait", owner="ours"),
)
SPACE = SearchSpace(
    engine="vllm",
    knobs=KNOBS,
    searched={knob.name: knob.domain for knob in KNOBS},
    fixed={},
    derive=lambda config: {},
)
DEFAULT = dict(SPACE.default())
STOCK = Selection(space=SPACE, ties=Ties(0.01))
CHAT = Profile(name="chat", quadrant=INTERACTIVE, sla=parse_sla(SLA))
RAG = Profile(name="rag", quadrant=LIVE, sla=parse_sla(SLA))
FACTS = StudyFacts(
    study="chat-monday",
    objective="chat",
    profiles=(CHAT,),
    capacity=True,
    engine="simulated",
    engine_version="vLLM 0.32 scheduler",
    simulated=True,
    uncertainty="uncalibrated",
    hardware={"gpu": "h100_sxm", "gpus": 4},
    model="qwen3-8b",
    workloads={"chat": {"requests": 600, "request_rate": 7.5}},
    seed=7,
)
ALL = replace(FACTS, objective="all", profiles=(RAG, CHAT))
CONTRACT = [
    "schema_version",
    "study",
    "objective",
    "engine",
    "engine_version",
    "simulated",
    "uncertainty",
    "hardware",
    "model",
    "workloads",
    "seed",
    "trials",
    "cost",
    "baseline",
    "best",
    "confirmation",
    "regret",
    "front",
    "unused_knobs",
    "infeasible",
]


def judged(ttft_ms: float, verdict: Verdict, excess: float) -> dict[str, Judgement]:
    return {
        "p95_tpot_ms<=40": Judgement(40.0, 30.0, 1.0, Verdict.MET, -0.4),
        "p95_ttft_ms<=500": Judgement(500.0, ttft_ms, 0.97, verdict, excess),
    }


def trial(
    number: int,
    *,
    ttft_ms: float = 400.0,
    capacity_per_gpu: float | None = 2.0,
    keeps: Collection[Quadrant] = tuple(Quadrant),
    otherwise: Verdict = Verdict.BROKEN,
    excess: float = 1.0,
    seqs: int = 256,
    wait_ms: int = 0,
    **changes: Any,
) -> TrialRecord:
    """A trial that keeps the promises of some quadrants, that of chat among them."""
    verdicts = {q: (Verdict.MET, -0.3) if q in keeps else (otherwise, excess) for q in Quadrant}
    quadrants = {q: judged(ttft_ms, *verdict) for q, verdict in verdicts.items()}
    capacity = {
        "capacity_per_gpu": capacity_per_gpu,
        "gpus_needed": 2 if capacity_per_gpu else None,
        "output_throughput_per_gpu": 1000.0,
    }
    fields: dict[str, Any] = {
        "objective": "chat",
        "config": {"max_num_seqs": seqs, "wait_ms": wait_ms},
        "origin": "default" if number == 0 else "sampler",
        "loads": {
            "offered": {"p95_ttft_ms": ttft_ms, "output_throughput_per_gpu": 500.0},
            **({} if capacity_per_gpu is None else {"capacity": capacity}),
        },
        "sla": quadrants[INTERACTIVE],
        "quadrants": quadrants,
        "engine_s": 90.0,
        "measured_s": 0.0,
        "launch_id": number,
    }
    return TrialRecord(number=number, **{**fields, **changes})


def failed(number: int, **changes: Any) -> TrialRecord:
    nothing = {"loads": {}, "sla": {}, "quadrants": {}, "failure": FAILURE}
    return trial(number, **{**nothing, **changes})


def ruled_out(number: int) -> TrialRecord:
    return failed(number, launch_id=None, engine_s=0.0)


def summary(
    *records: TrialRecord, facts: StudyFacts = FACTS, selection: Selection = STOCK
) -> dict[str, Any]:
    return summarise(facts, records, selection, wall_s=12.34567)


records = st.one_of(
    st.builds(
        trial,
        number=st.just(0),
        ttft_ms=st.floats(min_value=1, max_value=1e6),
        capacity_per_gpu=st.none() | st.just(0.0) | st.floats(min_value=0.01, max_value=1e6),
        keeps=st.sets(st.sampled_from(Quadrant)),
        otherwise=st.sampled_from([Verdict.BROKEN, Verdict.UNDECIDED]),
        excess=st.floats(min_value=-3, max_value=3),
        seqs=st.sampled_from([64, 256]),
        wait_ms=st.sampled_from([0, 20]),
        objective=st.sampled_from(["chat", "rag"]),
        stopped_early=st.booleans(),
    ),
    st.builds(failed, number=st.just(1), objective=st.sampled_from(["chat", "rag"])),
    st.builds(ruled_out, number=st.just(1)),
)


def numbered(found: list[TrialRecord]) -> list[TrialRecord]:
    """In the order they were tried, the default config first, which nothing stops."""
    return [
        replace(
            record,
            number=number,
            launch_id=None if record.launch_id is None else number,
            origin="sampler" if number else "default",
            stopped_early=record.stopped_early and number > 0,
            config={**record.config, "wait_ms": record.config["wait_ms"] if number else 0},
        )
        for number, record in enumerate(found)
    ]


studies = st.lists(records, max_size=8).map(numbered)
facts = st.builds(replace, st.sampled_from([FACTS, ALL]), capacity=st.booleans())
selections = st.builds(replace, st.just(STOCK), allow_ours=st.booleans())


@given(studies, facts, selections)
def test_a_summary_has_exactly_the_keys_of_the_contract_and_is_plain_json(
    found: list[TrialRecord], about: StudyFacts, selection: Selection
) -> None:
    answer = summary(*found, facts=about, selection=selection)
    assert list(answer) == CONTRACT
    assert list(answer["best"]) == list(answer["regret"]) == [str(q) for q in Quadrant]
    assert json.loads(json.dumps(answer, allow_nan=False)) == answer


@given(studies, facts, selections)
def test_neither_failed_nor_ruled_out_trials_appear_anywhere(
    found: list[TrialRecord], about: StudyFacts, selection: Selection
) -> None:
    answer = summary(*found, facts=about, selection=selection)
    infeasible = answer["infeasible"]
    shown = [
        *(best for best in answer["best"].values() if best),
        *(best["ours"] for best in answer["best"].values() if best and best["ours"]),
        *answer["front"],
        *([infeasible["nearest"]] if infeasible else []),
    ]
    measured = {r.number for r in found if r.answered and r.failure is None}
    assert {entry["trial"] for entry in shown} <= measured


@given(studies, facts)
def test_every_launched_config_is_counted_once(
    found: list[TrialRecord], about: StudyFacts
) -> None:
    counts = summary(*found, facts=about)["trials"]
    assert counts["done"] == sum(r.answered for r in found)
    assert counts["done"] == counts["feasible"] + counts["infeasible"] + counts["failed"]


@given(studies, facts, selections)
def test_a_winner_is_not_told_to_be_worse_than_a_default_that_could_have_won(
    found: list[TrialRecord], about: StudyFacts, selection: Selection
) -> None:
    for best in summary(*found, facts=about, selection=selection)["best"].values():
        if best and best["baseline_keeps_sla"] and best["gain"]:
            assert best["gain"]["ratio"] >= 1 - STOCK.ties.relative


def test_a_study_without_trials_has_a_summary_that_says_so() -> None:
    nothing = {str(q): None for q in Quadrant}
    assert summary() == {
        "schema_version": 1,
        "study": "chat-monday",
        "objective": "chat",
        "engine": "simulated",
        "engine_version": "vLLM 0.32 scheduler",
        "simulated": True,
        "uncertainty": "uncalibrated",
        "hardware": {"gpu": "h100_sxm", "gpus": 4},
        "model": "qwen3-8b",
        "workloads": {"chat": {"requests": 600, "request_rate": 7.5}},
        "seed": 7,
        "trials": {
            "done": 0,
            "feasible": 0,
            "infeasible": 0,
            "failed": 0,
            "stopped_early": 0,
        },
        "cost": {
            "wall_s": 12.346,
            "engine_s": 0,
            "measured_s": 0,
            "launches": 0,
            "gpu_hours": 0.0,
        },
        "baseline": None,
        "best": nothing,
        "confirmation": None,
        "regret": {str(q): nothing for q in Quadrant},
        "front": [],
        "unused_knobs": [],
        "infeasible": None,
    }


def test_where_every_config_failed_nothing_is_concluded() -> None:
    answer = summary(failed(0), failed(1, seqs=64), ruled_out(2))
    assert answer["trials"] == {
        "done": 2,
        "feasible": 0,
        "infeasible": 0,
        "failed": 2,
        "stopped_early": 0,
    }
    concluded = (answer[key] for key in ("baseline", "front", "unused_knobs", "infeasible"))
    assert list(concluded) == [None, [], [], None]
    assert set(answer["best"].values()) == {None}


def test_the_default_config_is_the_baseline() -> None:
    default = trial(0)
    assert summary(default, trial(1, ttft_ms=200.0))["baseline"] == {
        "config": DEFAULT,
        "loads": default.loads,
        "sla": sla_json(default.sla),
    }


def test_a_winner_comes_with_all_that_a_reader_wants_to_know() -> None:
    best = trial(1, ttft_ms=200.0, seqs=64)
    assert summary(trial(0), best)["best"]["interactive"] == {
        "config": {"max_num_seqs": 64, "wait_ms": 0},
        "objective": "chat",
        "loads": best.loads,
        "sla": {
            "p95_tpot_ms<=40": {"limit": 40.0, "value": 30.0, "share": 1.0, "verdict": "met"},
            "p95_ttft_ms<=500": {"limit": 500.0, "value": 200.0, "share": 0.97, "verdict": "met"},
        },
        "goal": {"metric": "p95_ttft_ms", "value": 200.0},
        "trial": 1,
        "gain": {"ratio": 2.0, "low": None, "high": None},
        "baseline_keeps_sla": True,
        "confirmed": False,
        "from_file": None,
        "ours": None,
    }


def test_the_best_with_our_scheduler_class_is_shown_beside_the_winner_with_what_it_adds() -> None:
    ours = trial(1, ttft_ms=320.0, wait_ms=20)
    best = summary(trial(0), ours)["best"]["interactive"]
    assert (best["trial"], best["ours"]) == (
        0,
        {"config": {"max_num_seqs": 256, "wait_ms": 20}, "trial": 1, "extra_gain": 0.25},
    )


def test_our_scheduler_class_is_not_shown_where_it_adds_nothing() -> None:
    ours = trial(1, ttft_ms=398.0, wait_ms=20)
    assert summary(trial(0), ours)["best"]["interactive"]["ours"] is None


def test_where_it_is_allowed_the_best_with_our_scheduler_class_wins() -> None:
    answer = summary(
        trial(0), trial(1, ttft_ms=320.0, wait_ms=20), selection=replace(STOCK, allow_ours=True)
    )
    best = answer["best"]["interactive"]
    assert (best["trial"], best["gain"]["ratio"], best["ours"]) == (1, 1.25, None)


def test_a_default_that_breaks_the_promise_is_compared_with_but_said_to_break_it() -> None:
    best = summary(trial(0, ttft_ms=800.0, keeps=()), trial(1))["best"]["interactive"]
    assert (best["gain"]["ratio"], best["baseline_keeps_sla"]) == (2.0, False)


def test_without_a_default_that_was_served_there_is_no_gain() -> None:
    best = summary(failed(0), trial(1))["best"]["interactive"]
    assert (best["gain"], best["baseline_keeps_sla"]) == (None, False)


def test_the_offered_load_alone_has_no_winner_at_scale_or_in_bulk() -> None:
    record = trial(0, capacity_per_gpu=None)
    answer = summary(record, facts=replace(FACTS, capacity=False))
    assert {q: best and best["goal"] for q, best in answer["best"].items()} == {
        "live-at-scale": None,
        "interactive": {"metric": "p95_ttft_ms", "value": 400.0},
        "economy": {"metric": "output_throughput_per_gpu", "value": 500.0},
        "bulk": None,
    }
    assert answer["front"] == [
        {
            "trial": 0,
            "objective": "chat",
            "config": DEFAULT,
            "values": {"output_throughput_per_gpu": 500.0, "p95_ttft_ms": 400.0},
        }
    ]


def test_a_quadrant_is_served_by_the_objective_that_belongs_to_it_else_by_the_first() -> None:
    rag, chat = trial(0, objective="rag"), trial(0, ttft_ms=300.0)
    answer = summary(rag, chat, facts=ALL)
    assert {q: best["objective"] for q, best in answer["best"].items()} == {
        "live-at-scale": "rag",
        "interactive": "chat",
        "economy": "rag",
        "bulk": "rag",
    }


def test_regret_in_all_looks_the_same_config_up_on_the_served_traffic() -> None:
    rag = [
        trial(0, objective="rag", capacity_per_gpu=4.0),
        trial(1, objective="rag", capacity_per_gpu=1.0),
    ]
    chat = [trial(0, ttft_ms=400.0), trial(1, ttft_ms=200.0)]
    regret = summary(*rag, *chat, facts=ALL)["regret"]
    assert (regret["live-at-scale"]["interactive"], regret["interactive"]["live-at-scale"]) == (
        0.75,
        0.5,
    )


def test_in_all_a_config_is_counted_and_paid_for_once() -> None:
    answer = summary(
        *(trial(0, objective=name) for name in ("rag", "chat")),
        *(
            trial(1, objective=name, keeps=keeps)
            for name, keeps in (("rag", ()), ("chat", [LIVE]))
        ),
        trial(2, objective="rag"),
        failed(2),
        facts=ALL,
    )
    assert answer["trials"] == {
        "done": 3,
        "feasible": 1,
        "infeasible": 1,
        "failed": 1,
        "stopped_early": 0,
    }
    assert answer["cost"] == {
        "wall_s": 12.346,
        "engine_s": 270.0,
        "measured_s": 0.0,
        "launches": 3,
        "gpu_hours": 0.3,
    }


def test_the_front_of_all_names_the_objective_of_each_point() -> None:
    answer = summary(trial(0, objective="rag"), trial(0), facts=ALL)
    values = {"capacity_per_gpu": 2.0, "p95_ttft_ms": 400.0}
    assert answer["front"] == [
        {"trial": 0, "objective": name, "config": DEFAULT, "values": values}
        for name in ("rag", "chat")
    ]


def test_a_knob_that_matters_to_any_goal_of_any_quadrant_is_not_unused() -> None:
    same, saturated = trial(1, seqs=64), trial(1, seqs=64)
    capacity = {**saturated.loads["capacity"], "output_throughput_per_gpu": 1500.0}
    saturated = replace(saturated, loads={**saturated.loads, "capacity": capacity})
    assert summary(trial(0), same)["unused_knobs"] == ["max_num_seqs"]
    assert summary(trial(0), saturated)["unused_knobs"] == []


def test_a_knob_that_matters_to_one_of_the_objectives_is_not_unused() -> None:
    rag = [trial(0, objective="rag"), trial(1, objective="rag", seqs=64)]
    same, slower = trial(1, seqs=64), trial(1, seqs=64, ttft_ms=450.0)
    assert summary(*rag, trial(0), same, facts=ALL)["unused_knobs"] == ["max_num_seqs"]
    assert summary(*rag, trial(0), slower, facts=ALL)["unused_knobs"] == []


def test_without_a_winner_the_nearest_config_says_what_its_promise_would_have_to_be() -> None:
    far, near = trial(0, keeps=(), excess=2.0), trial(1, ttft_ms=700.0, keeps=(), excess=0.5)
    answer = summary(far, near)
    assert answer["infeasible"] == {
        "nearest": {
            "config": near.config,
            "trial": 1,
            "loads": near.loads,
            "sla": sla_json(near.sla),
        },
        "binding": "p95_ttft_ms<=500",
        "price": {
            "limit": 500.0,
            "would_hold_at": pytest.approx(707.107, abs=0.001),
            "verdict": "broken",
        },
    }


def test_a_rate_that_is_too_low_would_have_to_be_promised_lower() -> None:
    slow = {"output_throughput>=800": Judgement(800.0, 400.0, None, Verdict.BROKEN, 1.0)}
    record = trial(0, sla=slow, quadrants=dict.fromkeys(Quadrant, slow))
    infeasible = summary(record)["infeasible"]
    assert (infeasible["binding"], infeasible["price"]["would_hold_at"]) == (
        "output_throughput>=800",
        400.0,
    )


def test_with_a_winner_nothing_is_infeasible() -> None:
    assert summary(trial(0), trial(1, keeps=()))["infeasible"] is None


def test_only_a_quadrant_the_study_is_about_can_be_infeasible() -> None:
    answer = summary(trial(0, keeps=[INTERACTIVE]))
    assert (answer["best"]["bulk"], answer["infeasible"]) == (None, None)


def test_a_promise_that_is_kept_is_not_why_the_offered_load_alone_has_no_winner() -> None:
    about = replace(FACTS, objective="rag", profiles=(RAG,), capacity=False)
    kept = trial(0, objective="rag", capacity_per_gpu=None)
    broken = trial(1, objective="rag", capacity_per_gpu=None, keeps=())
    assert summary(kept, broken, facts=about)["infeasible"] is None


def test_the_nearest_config_is_one_the_stock_engine_starts_with() -> None:
    stock = trial(0, keeps=(), excess=2.0)
    ours = trial(1, keeps=(), excess=0.1, wait_ms=20)
    kept = trial(2, wait_ms=20)
    for others in ([ours], [kept], [ours, kept]):
        infeasible = summary(stock, *others)["infeasible"]
        assert infeasible["nearest"]["trial"] == 0
    assert summary(failed(0), ours)["infeasible"]["nearest"]["trial"] == 1
