"""A small study as its report is made of: a default, a better config, one that fails and more."""

from dataclasses import replace
from typing import Any

from objectives import LoadName
from objectives.quadrant import CAPACITY, FIRST_TOKEN
from results.confirmation import DEFAULT, Finalist, confirm
from results.record import TrialRecord
from results.report import Asked, Evidence, KnobImportance, Latencies
from results.summary import StudyFacts, summarise
from tests.results.test_summary import FACTS, INTERACTIVE, LIVE, STOCK, failed, ruled_out, trial

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
ASKED = Asked(
    trials=8,
    budget_s=None,
    pairs=5,
    max_model_len=4096,
    hourly_cost_usd=None,
    sized_to_default=False,
)
CHAT = {
    "quadrant": "interactive",
    "source": "azure2023_conv.csv",
    "requests": 600,
    "request_rate": 7.5,
    "concurrency": None,
    "mean_input_tokens": 1000.0,
    "mean_output_tokens": 200.0,
    "sla": {"p95_tpot_ms<=40": "MLPerf", "p95_ttft_ms<=500": "yours"},
}
STUDY = replace(FACTS, workloads={"chat": CHAT})


def probed(number: int, seqs: int, ttft_ms: float, per_gpu: float, **changes: Any) -> TrialRecord:
    """A trial with everything that a real one has."""
    plain = trial(number, ttft_ms=ttft_ms, capacity_per_gpu=per_gpu, seqs=seqs)
    capacity = 4 * per_gpu
    offered = {
        "request_rate": 7.5,
        "p95_tpot_ms": 30.0,
        "p95_e2el_ms": 6000.0,
        "mean_running": 12.0,
        "preemptions": 0,
        "mfu": 0.2,
        "mbu": 0.5,
    }
    probes = [
        _probe(capacity, True, ttft_ms, 39.0),
        _probe(1.1 * capacity, False, ttft_ms, 41.0),
    ]
    more = {"capacity": capacity, "headroom": 1 - 7.5 / capacity, "probes": probes}
    loads: dict[LoadName, dict[str, Any]] = {
        "offered": {**plain.loads["offered"], **offered},
        "capacity": {**plain.loads["capacity"], **more, "mean_running": 200.0},
    }
    spent = {"engine_s": 100.0, "launch_s": 30.0, "measured_s": 60.0}
    return replace(plain, loads=loads, **{**spent, **changes})


def _probe(level: float, holds: bool, ttft_ms: float, tpot_ms: float) -> dict[str, Any]:
    return {
        "level": level,
        "holds": holds,
        "verdict": "met" if holds else "broken",
        "p95_ttft_ms": ttft_ms,
        "p95_tpot_ms": tpot_ms,
        "p95_e2el_ms": 6000.0,
        "mean_running": 150.0,
    }


RECORDS = [
    probed(0, 256, 400.0, 2.0),
    probed(1, 64, 200.0, 2.5),
    probed(2, 512, 900.0, 3.0, sla=trial(2, keeps=()).sla, quadrants=trial(2, keeps=()).quadrants),
    replace(failed(3), config={"max_num_seqs": 1024, "wait_ms": 0}, engine_s=20.0),
    probed(4, 32, 300.0, 1.0, stopped_early=True, why_stopped="less capacity"),
    ruled_out(5),
]
CHOSEN = (
    Finalist(quadrant=INTERACTIVE, objective="chat", trial=1, goal=FIRST_TOKEN),
    Finalist(quadrant=LIVE, objective="chat", trial=1, goal=CAPACITY),
)


def pairs() -> list[TrialRecord]:
    """Five runs of default and finalist in turns; the finalist is better each time."""
    arms = ((DEFAULT, RECORDS[0]), ("trial 1", RECORDS[1]))
    return [
        replace(record, arm=arm, pair=pair, origin="confirm", launch_id=100 + 2 * pair + turn)
        for pair in range(5)
        for turn, (arm, record) in enumerate(arms)
    ]


def evidence(
    records: list[TrialRecord] | None = None,
    *,
    facts: StudyFacts = STUDY,
    confirmed: bool = False,
    **changes: Any,
) -> Evidence:
    """The study above, or another; ``confirmed`` measures its finalist in pairs."""
    kept = RECORDS if records is None else records
    runs = pairs() if confirmed else []
    summary = summarise(
        facts,
        kept,
        STOCK,
        wall_s=12.0,
        confirmed=confirm(CHOSEN, runs) if confirmed else None,
        runs=runs,
    )
    fields: dict[str, Any] = {
        "summary": summary,
        "records": kept,
        "confirmations": runs,
        "values": {profile.name: (CAPACITY, FIRST_TOKEN) for profile in facts.profiles},
        "asked": ASKED,
        "knobs": ["max_num_seqs", "wait_ms"],
        "folder": "studies/chat-monday",
        "exports": True,
        "importance": {
            ("chat", "capacity_per_gpu"): [
                KnobImportance(knob="max_num_seqs", share=0.8, low=0.6, high=0.9),
                KnobImportance(knob="wait_ms", share=0.2, low=0.1, high=0.4),
            ]
        },
        "latencies": {
            ("chat", 0): Latencies(unanswered=1, ttft_ms=[30, 10, 20], tpot_ms=[5, 6, 7]),
            ("chat", 1): Latencies(unanswered=0, ttft_ms=[1, 2, 3, 4], tpot_ms=[5, 5, 5, 5]),
        },
        "versions": {"paretune": "0.1.0"},
    }
    return Evidence(**{**fields, **changes})


def spaced(told: Any) -> Any:
    """Text with plain spaces, wherever it stands."""
    if isinstance(told, str):
        return told.replace("\N{NO-BREAK SPACE}", " ")
    return type(told)(map(spaced, told)) if isinstance(told, (list, tuple)) else told
