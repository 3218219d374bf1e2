"""What each section of the page shows, and what it leaves out."""

from dataclasses import replace
from typing import Any

import pytest

from results.report.coordinates import coordinates
from results.report.curves import curves
from results.report.distributions import distributions
from results.report.evidence import Evidence, Latencies
from results.report.failures import failures
from results.report.frontier import frontier
from results.report.knobs import knobs
from results.report.limited import first_broken, limited
from results.report.method import method
from results.report.pairs import confirmed
from results.report.parts import Figure, Section, Table
from results.report.regrets import regrets
from results.report.timeline import timeline
from tests.results.report.cases import ASKED, CHAT, RECORDS, STUDY, evidence, spaced
from tests.results.test_summary import ALL, failed, trial


def figures(section: Section) -> list[Figure]:
    return [part for part in section.parts if isinstance(part, Figure)]


def tables(section: Section) -> Any:
    """Of each table, its rows as text."""
    found = [part for part in section.parts if isinstance(part, Table)]
    return spaced([[[cell.text for cell, _ in row] for row in t.cells] for t in found])


def sentences(section: Section) -> list[str]:
    return [spaced(part) for part in section.parts if isinstance(part, str)]


def points(figure: Figure) -> dict[str, list[tuple[Any, Any]]]:
    """By the name of the trace."""
    return {t["name"]: list(zip(t["x"], t["y"], strict=True)) for t in figure.traces}


def test_the_frontier_shows_what_was_measured_whole_and_marks_default_and_winners() -> None:
    section = frontier(evidence())
    ttft, tpot = figures(section)
    assert points(ttft) == {
        "keeps the SLA": [(2.0, 400.0), (2.5, 200.0)],
        "does not keep it": [(3.0, 900.0)],
        "default config, trial 0 (wins IV)": [(2.0, 400.0)],
        "winner I, II, III, trial 1": [(2.5, 200.0)],
    }
    assert ttft.layout["xaxis"]["title"]["text"] == "capacity per GPU (req/s/GPU)"
    assert points(tpot)["keeps the SLA"] == [(2.0, 30.0), (2.5, 30.0)]
    assert sentences(section) == [
        "Not drawn: 1 that stopped early, with figures of part of a run; "
        "1 that could not be served."
    ]


def test_the_region_of_the_sla_is_shaded_up_to_its_limit() -> None:
    ttft = figures(frontier(evidence()))[0]
    shaded = [shape for shape in ttft.layout["shapes"] if shape["type"] == "rect"]
    assert [(s["yref"], s["y1"], s["xref"]) for s in shaded] == [("y", 500.0, "x domain")]


def test_every_trial_tells_its_settings_and_figures_under_the_pointer() -> None:
    told: str = figures(frontier(evidence()))[0].traces[0]["hovertext"][1]
    assert told.split("<br>") == [
        "<b>trial 1, winner of I, II, III</b>",
        "max_num_seqs 64",
        "keeps the SLA",
        "p95 TTFT: 200 ms",
        "p95 TPOT: 30 ms",
        "p95 E2EL: 6000 ms",
        "capacity: 10 req/s",
        "output throughput per GPU: 1000 tok/s/GPU",
        "GPUs needed: 2 GPUs",
    ]


def test_configs_that_no_other_beats_in_both_are_joined_in_steps() -> None:
    records = [
        trial(0),
        trial(1, ttft_ms=300.0, capacity_per_gpu=1.0, seqs=8),
        trial(2, ttft_ms=500.0, capacity_per_gpu=3.0, seqs=16),
        trial(3, ttft_ms=600.0, capacity_per_gpu=1.0, seqs=32),
    ]
    front = next(t for t in figures(frontier(evidence(records)))[0].traces if t["name"] == "front")
    assert list(zip(front["x"], front["y"], strict=True)) == [(1.0, 300), (2.0, 400), (3.0, 500)]
    assert front["line"]["shape"] == "vh"


def test_what_a_config_that_failed_was_told_as_is_nowhere_in_the_page() -> None:
    drawn = [f for section in (frontier, curves) for f in figures(section(evidence()))]
    assert all("trial 3" not in str(figure.traces) for figure in drawn)


def test_curves_are_of_all_configs_and_say_by_their_points_what_held() -> None:
    ttft, _ = figures(curves(evidence()))
    assert list(points(ttft)) == [
        "other configs",
        "default config, trial 0 (wins IV)",
        "winner I, II, III, trial 1",
    ]
    winner = ttft.traces[2]
    assert (winner["x"], winner["y"]) == ([10.0, 11.0], [200.0, 200.0])
    assert winner["marker"]["symbol"] == ["star", "star-open"]
    assert [s["x0"] for s in ttft.layout["shapes"] if s.get("xref") == "x"] == [7.5]


def test_without_probes_the_load_section_says_so() -> None:
    assert sentences(curves(evidence([trial(0)]))) == [
        "No load besides the offered one was measured."
    ]


def test_requests_are_shares_of_all_that_were_offered() -> None:
    few = Latencies(unanswered=1, ttft_ms=[30.0, 10.0, 20.0], tpot_ms=[])
    shown = evidence(latencies={("chat", 0): few})
    (ttft,) = figures(distributions(shown))
    assert points(ttft) == {
        "default config, trial 0 (wins IV)": [(10.0, 0.25), (20.0, 0.5), (30.0, 0.75)]
    }


def test_a_curve_of_many_requests_is_thinned_and_keeps_its_ends() -> None:
    many = Latencies(unanswered=0, ttft_ms=[float(i) for i in range(1, 10_001)], tpot_ms=[])
    (ttft,) = figures(distributions(evidence(latencies={("chat", 0): many})))
    (drawn,) = points(ttft).values()
    assert (len(drawn), drawn[0], drawn[-1]) == (200, (1.0, 0.0001), (10_000.0, 1.0))


def test_what_limited_a_winner_is_the_bound_that_broke_first_and_how_full_it_was() -> None:
    (rows,) = tables(limited(evidence()))
    assert rows[1] == [
        "II interactive, trial 1",
        "at 11 req/s: p95 TPOT 41 of 40 ms",
        "150 of 64",
        "200 of 64",
        "20 %",
        "50 %",
        "0",
    ]


@pytest.mark.parametrize(
    ("probes", "closed", "sentence"),
    [
        ([], False, "not measured"),
        ([(5.0, True, 30.0)], False, "no load was found that breaks the SLA"),
        ([(5.0, True, 30.0), (6.0, False, 41.0)], True, "at 6 in flight: p95 TPOT 41 of 40 ms"),
        (
            [(4.0, False, 50.0), (5.0, True, 30.0), (6.0, False, 30.0)],
            False,
            "at 6 req/s: it fell behind, while what it had answered was in time",
        ),
    ],
)
def test_the_first_load_above_the_capacity_tells_what_broke(
    probes: list[tuple[float, bool, float]], closed: bool, sentence: str
) -> None:
    kept = [{"level": lv, "holds": h, "p95_tpot_ms": tpot} for lv, h, tpot in probes]
    found = first_broken({"probes": kept}, ["p95_tpot_ms<=40"], closed=closed)
    assert spaced(found) == sentence


def test_regret_is_a_table_of_shares_that_are_lost() -> None:
    ((live, *_),) = tables(regrets(evidence()))
    assert [cell for cell in live] == [*("I live-at-scale", "0 %", "0 %", "0 %", "20 %")]
    assert tables(regrets(evidence([failed(0)]))) == []


def test_settings_are_rows_of_lines_and_what_failed_ends_above_the_figures() -> None:
    (figure,) = figures(coordinates(evidence()))
    drawn = points(figure)
    assert list(drawn) == [
        "could not be served",
        "does not keep the SLA",
        "keeps the SLA",
        "default config, trial 0 (wins IV)",
        "winner I, II, III, trial 1",
    ]
    assert drawn["could not be served"] == [(1.0, 0.0), (None, None)]
    assert drawn["winner I, II, III, trial 1"] == [
        (0.0, 0.0),
        (0.5, -1.0),
        (0.0, -2.0),
        (None, None),
    ]
    names = [note["text"] for note in figure.layout["annotations"] if note["yanchor"] == "bottom"]
    assert names == ["max_num_seqs", "<b>capacity per GPU</b>", "<b>p95 TTFT</b>"]


def test_importance_is_shown_with_its_whiskers_beside_what_pairs_of_trials_show() -> None:
    section = knobs(evidence())
    (figure,) = figures(section)
    (bars,) = figure.traces
    assert (bars["y"], bars["x"]) == (["wait_ms", "max_num_seqs"], [0.2, 0.8])
    assert bars["error_x"]["array"] == pytest.approx([0.2, 0.1])
    assert sentences(section)[-1] == "Of no knob can it be said that it made no difference."
    few = "Too few configs were measured whole to estimate how much each knob matters."
    assert few in sentences(knobs(evidence(importance={})))


def test_engine_time_is_launching_measuring_and_wasted_in_the_order_of_trials() -> None:
    section = timeline(evidence())
    assert sentences(section)[0] == (
        "Of 7 min of simulated engine time: launching 29 %, measuring 57 %, wasted: waiting 10 %, "
        "wasted: failed configs 5 %."
    )
    lanes = {trace["name"]: trace for trace in figures(section)[0].traces}
    minutes = [round(60 * x) for x in lanes["wasted: failed configs"]["base"]]
    assert minutes == [300]
    assert [round(60 * x) for x in lanes["launching"]["base"]] == [0, 100, 200, 320]


def test_the_confirmation_has_its_place_on_the_time_line() -> None:
    figure = figures(timeline(evidence(confirmed=True)))[0]
    assert [note["text"] for note in figure.layout["annotations"]] == ["confirming"]
    told = [text for trace in figure.traces for text in trace["hovertext"]]
    assert "<b>pair 5: trial 1</b><br>launching 30 s" in told


def test_in_all_the_time_of_a_launch_counts_once() -> None:
    both = [replace(RECORDS[0], objective=name) for name in ("chat", "rag")]
    shown = evidence(both, facts=_all(), latencies={}, importance={})
    assert sentences(timeline(shown))[0].startswith("Of 1 min")


def _all() -> Any:
    rag = {**CHAT, "quadrant": "live-at-scale"}
    return replace(ALL, workloads={"rag": rag, "chat": CHAT})


def test_in_all_each_kind_of_traffic_has_figures_of_its_own() -> None:
    both = [replace(r, objective=name) for r in RECORDS[:3] for name in ("rag", "chat")]
    shown = evidence(both, facts=_all(), latencies={}, importance={})
    assert [spaced(f.title) for f in figures(frontier(shown))] == [
        f"Capacity per GPU and p95 {latency} of the {name} traffic"
        for name in ("rag", "chat")
        for latency in ("TTFT", "TPOT")
    ]


def test_failures_are_counted_by_cause_with_an_instance_of_each() -> None:
    served, ruled, stopped = tables(failures(evidence()))
    assert served == [["died", "1", "20 s", "3", "signal 9"]]
    assert ruled == [["signal 9", "1", "-", "5"]]
    assert [[c for c in row] for row in stopped] == [["less capacity", "1", "1 min 40 s", "4"]]
    assert sentences(failures(evidence(RECORDS[:3]))) == [
        "Every config that was proposed could be served and was measured whole."
    ]


def test_the_gain_is_shown_with_its_interval_and_what_came_of_it() -> None:
    section = confirmed(evidence(confirmed=True))
    (rows,) = tables(section)
    assert [row[-1] for row in rows] == ["gain", "gain"]
    second = figures(section)[0].traces[0]
    assert (second["y"], second["x"]) == (["II trial 1"], [pytest.approx(2.0)])
    assert sentences(confirmed(evidence())) == [
        "No finalist was measured beside the default: gains are as the search saw them."
    ]


def said(shown: Evidence) -> dict[str, str]:
    rows = tables(method(shown))[0]
    return {what: how for what, how in rows}


def test_the_method_says_how_to_do_it_again() -> None:
    told = said(evidence(confirmed=True))
    assert told["model"] == "qwen3-8b, requests of up to 4096 tokens"
    assert told["simulated or measured"] == "simulated, not measured on a GPU: uncalibrated"
    assert told["chat traffic"] == (
        "600 requests at 7.5 req/s, each sent at its own time however slow the answers, "
        "1000 in, 200 out tokens on average; azure2023_conv.csv"
    )
    assert told["search"] == (
        "Optuna's multivariate TPE, seed 7, for 8 configs, over max_num_seqs, wait_ms"
    )
    assert told["confidence"].startswith("finalists and default in 5 interleaved pairs")
    assert told["versions"] == "paretune 0.1.0"
    assert tables(method(evidence()))[1] == [
        ["chat", "p95_tpot_ms<=40", "MLPerf"],
        ["chat", "p95_ttft_ms<=500", "yours"],
    ]


@pytest.mark.parametrize(
    ("load", "sentence"),
    [
        ({"concurrency": 8}, "600 requests with 8 in flight, each sent when one ends"),
        ({"request_rate": None}, "600 requests sent all at once"),
    ],
)
def test_the_method_says_how_requests_arrive(load: dict[str, Any], sentence: str) -> None:
    facts = replace(STUDY, workloads={"chat": {**CHAT, **load}}, simulated=False)
    told = said(evidence(facts=facts, asked=replace(ASKED, trials=None, budget_s=600.0)))
    assert told["chat traffic"].startswith(sentence)
    assert told["simulated or measured"] == "measured on a real engine"
    assert told["search"].startswith(
        "Optuna's multivariate TPE, seed 7, for 10 min of engine time"
    )
