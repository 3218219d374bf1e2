"""What the text says of finalists measured in pairs, and of latency over load."""

from typing import Any

import pytest

from tests.results.test_text import QUADRANTS, best, loads, section, sections, shown, summary

RATIO = {"ratio": 1.2834, "low": 1.1512, "high": 1.4307, "p_value": 0.0041, "pairs": 5}


def pairs(goal: str, outcome: str, **changes: Any) -> dict[str, Any]:
    return {
        "trial": 12,
        "objective": "chat",
        "goal": goal,
        "outcome": outcome,
        **RATIO,
        "p_holm": 0.0123,
        "sla_kept": 5,
        "runs": 5,
        "modes": {},
        **changes,
    }


FOUR = {
    "live-at-scale": pairs("capacity_per_gpu", "gain"),
    "interactive": pairs(
        "p95_ttft_ms", "no significant gain", ratio=1.04, low=0.951, high=1.137, p_holm=0.3
    ),
    "economy": pairs("gpus_needed", "breaks its SLA", trial=31, sla_kept=2),
    "bulk": {
        "trial": 9,
        "objective": "chat",
        "goal": "output_throughput_per_gpu",
        "outcome": "not measured",
        "p_holm": None,
        "sla_kept": 0,
        "runs": 0,
        "modes": {},
    },
}


def test_finalists_are_shown_beside_the_default_in_a_table() -> None:
    assert (
        section(summary(confirmation=FOUR), "The best of the search")
        == """\
The best of the search against the default, each launched from its file, in turns, on fresh
draws of the traffic (95 % interval of the paired ratio, above 1 is better; a gain must hold for
all quadrants together, by Holm):
                                                                        SLA
     trial  goal                       pairs         over the default  kept
I       12  capacity per GPU               5   1.28x (1.15x to 1.43x)   5/5  gain
II      12  p95 TTFT                       5  1.04x (0.951x to 1.14x)   5/5  no significant gain
III     31  GPUs needed                    5   1.28x (1.15x to 1.43x)   2/5  breaks its SLA
IV       9  output throughput per GPU      -                        -   0/0  not measured"""
    )


def test_where_the_table_does_not_fit_each_finalist_is_a_sentence() -> None:
    assert (
        section(summary(confirmation=FOUR), "The best of the search", width=60)
        == """\
The best of the search against the default, each launched
from its file, in turns, on fresh draws of the traffic (95 %
interval of the paired ratio, above 1 is better; a gain must
hold for all quadrants together, by Holm):
  I         trial 12, capacity per GPU: 1.28x (1.15x to
            1.43x) in 5 pairs, SLA kept in 5 of 5 runs, gain
  II        trial 12, p95 TTFT: 1.04x (0.951x to 1.14x) in
            5 pairs, SLA kept in 5 of 5 runs, no significant
            gain
  III       trial 31, GPUs needed: 1.28x (1.15x to 1.43x) in
            5 pairs, SLA kept in 2 of 5 runs, breaks its SLA
  IV        trial 9, output throughput per GPU: not measured"""
    )


def test_the_engines_own_modes_are_told_by_the_same_pairs() -> None:
    modes = {
        "performance_mode throughput": {**RATIO, "ratio": 0.9, "low": 0.8, "high": 1.01},
        "performance_mode interactivity": {**RATIO, "ratio": 1.5, "low": 1.25, "high": 1.75},
    }
    study = summary(confirmation={"interactive": pairs("p95_ttft_ms", "gain", modes=modes)})
    assert section(study, "The best of the search").splitlines()[-3:] == [
        "II     12  p95 TTFT      5  1.28x (1.15x to 1.43x)   5/5  gain",
        "In the same pairs: performance-mode throughput II 0.9x (0.8x to 1.01x), performance-mode",
        "interactivity II 1.5x (1.25x to 1.75x).",
    ]


@pytest.mark.parametrize("nothing", [{}, None])
def test_before_there_is_a_finalist_nothing_is_said_of_pairs(nothing: Any) -> None:
    assert shown(summary(confirmation=nothing)) == shown(summary())


GAIN = {"gain": {"ratio": 1.2834, "low": 1.1512, "high": 1.4307}, "confirmed": True}
STAYS = {"gain": {"ratio": 1.0, "low": None, "high": None}, "trial": 0, "confirmed": True}


@pytest.mark.parametrize(
    ("entry", "found", "cell", "sentence"),
    [
        (
            GAIN,
            pairs("capacity_per_gpu", "gain"),
            "1.28x",
            "1.28x the default's capacity_per_gpu (95 % interval 1.15x to 1.43x)",
        ),
        (
            STAYS,
            pairs("capacity_per_gpu", "no significant gain", ratio=1.04, low=0.951, high=1.137),
            "none",
            "no significant gain: of trial 12, the best of the search, 1.04x the default's "
            "capacity_per_gpu (95 % interval 0.951x to 1.14x) on fresh traffic",
        ),
        (
            STAYS,
            pairs("p95_ttft_ms", "no significant gain", ratio=1.04, low=0.951, high=1.137),
            "none",
            "no significant gain: of trial 12, the best of the search, the default's p95 TTFT is "
            "1.04x this (95 % interval 0.951x to 1.14x) on fresh traffic",
        ),
        (
            STAYS,
            pairs("capacity_per_gpu", "loss", ratio=0.5, low=0.4, high=0.625),
            "none",
            "trial 12, the best of the search, is worse on fresh traffic: 0.5x the default's "
            "capacity_per_gpu (95 % interval 0.4x to 0.625x)",
        ),
        (
            STAYS,
            pairs("capacity_per_gpu", "breaks its SLA", sla_kept=2),
            "none",
            "trial 12, the best of the search, kept the SLA in 2 of 5 runs on fresh traffic",
        ),
        (
            {"gain": {"ratio": 1.34, "low": None, "high": None}},
            FOUR["bulk"],
            "1.34x",
            "1.34x the default's capacity_per_gpu",
        ),
        (
            {**GAIN, "baseline_keeps_sla": False},
            pairs("capacity_per_gpu", "gain"),
            "it breaks SLA",
            "the default breaks this SLA",
        ),
        (
            {**GAIN, "baseline_keeps_sla": False},
            pairs("capacity_per_gpu", "loss", ratio=0.5, low=0.4, high=0.625),
            "it breaks SLA",
            "the default breaks this SLA",
        ),
        (
            {**GAIN, "baseline_keeps_sla": False},
            pairs("capacity_per_gpu", "breaks its SLA", sla_kept=2),
            "it breaks SLA",
            "trial 12, the best of the search, kept the SLA in 2 of 5 runs on fresh traffic",
        ),
        (
            {**GAIN, "gain": {"ratio": 1.008, "low": 1.004, "high": 1.012}},
            pairs("capacity_per_gpu", "gain", ratio=1.008, low=1.004, high=1.012),
            "1.01x",
            "1.01x the default's capacity_per_gpu (95 % interval 1x to 1.01x)",
        ),
    ],
    ids=[
        *("gain", "no gain", "no gain in time", "loss", "breaks", "not measured", "only one"),
        *("only one, and less", "neither", "small"),
    ],
)
def test_a_gain_is_told_as_the_pairs_found_it(
    entry: dict[str, Any], found: dict[str, Any], cell: str, sentence: str
) -> None:
    won = best("capacity_per_gpu", 3.7, 1.3406, **entry)
    study = summary(best={"live-at-scale": won}, confirmation={"live-at-scale": found})
    row = section(study, "   ", width=200).splitlines()[2]
    assert row.endswith(f"  2850  {cell}")
    block = section(study, "I live", width=200).splitlines()
    assert f"  gain      {sentence}" in block


def test_what_the_file_came_to_is_told_beside_the_winner() -> None:
    file = {"loads": loads(p95_ttft_ms=231.0, p95_tpot_ms=29.44), "failure": None}
    kept = {"sla": {"a": {"verdict": "met"}, "b": {"verdict": "undecided"}}}
    won = best("p95_ttft_ms", 212.4, 1.3, from_file={**file, **kept})
    assert (
        "  file      the engine as it comes, started from it: p95 TTFT 231 ms, p95 TPOT 29.4 ms, "
        "SLA undecided"
    ) in section(summary(best={"interactive": won}), "II", width=200).splitlines()


def probe(level: float, verdict: str, holds: bool, **changes: Any) -> dict[str, Any]:
    return {
        "level": level,
        "holds": holds,
        "verdict": verdict,
        "requests": 600,
        "duration_s": 80.0,
        "completed": 600,
        "p95_ttft_ms": 20 * level,
        "p95_tpot_ms": 2 * level,
        "output_throughput": 200 * level,
        **changes,
    }


PROBES = [
    probe(3.75, "broken", False, p95_ttft_ms=None, requests=31),
    probe(7.5, "met", True),
    probe(13.9, "undecided", True, requests=1200),
    probe(14.5, "undecided", False, requests=1200),
    probe(15.75, "broken", False),
]


def over_load(**capacity: Any) -> dict[str, Any]:
    measured = loads()
    measured["capacity"] = {**measured["capacity"], "capacity": 14.2, **capacity}
    return summary(best={"interactive": best("p95_ttft_ms", 212.4, 1.3, loads=measured)})


def test_latency_over_load_is_a_table_of_the_probes() -> None:
    study = over_load(
        probes=PROBES, intervals={"capacity": [7.5, 15.75]}, broken_below=[3.75], headroom=None
    )
    assert section(study, "Latency over load") == (
        """\
Latency over load of trial 12, capacity 14.2 req/s (7.5 to 15.8):
offered  p95 TTFT  p95 TPOT  output  requests  SLA
  req/s        ms        ms   tok/s
   3.75         -       7.5     750        31  broken
    7.5       150        15    1500       600  met
   13.9       278      27.8    2780      1200  undecided, taken as met
   14.5       290        29    2900      1200  undecided, taken as broken
   15.8       315      31.5    3150       600  broken
It breaks the SLA below its capacity, too: at 3.75 req/s."""
    )


def test_a_noiseless_curve_has_no_interval_and_nothing_is_undecided() -> None:
    study = over_load(probes=PROBES[1:2])
    assert section(study, "Latency over load").splitlines() == [
        "Latency over load of trial 12:",
        "offered  p95 TTFT  p95 TPOT  output  requests  SLA",
        "  req/s        ms        ms   tok/s",
        "    7.5       150        15    1500       600  met",
    ]


def test_a_curve_of_an_earlier_version_has_no_verdicts() -> None:
    old = {k: v for k, v in PROBES[4].items() if k not in ("verdict", "requests")}
    assert section(over_load(probes=[old]), "Latency over load").splitlines()[-1] == (
        "   15.8       315      31.5    3150         -  broken"
    )


@pytest.mark.parametrize(
    "study",
    [
        over_load(probes=[]),
        over_load(),
        over_load(probes=[{**PROBES[0], "level": None}]),
        summary(best=dict.fromkeys(QUADRANTS)),
    ],
    ids=["none", "not searched", "all at once", "no winner"],
)
def test_without_levels_there_is_no_curve(study: dict[str, Any]) -> None:
    assert not [text for text in sections(study) if text.startswith("Latency over load")]


def test_in_a_closed_loop_there_is_no_curve_over_the_rate() -> None:
    study = over_load(probes=PROBES)
    study["best"]["interactive"]["loads"]["offered"]["request_rate"] = None
    assert "Latency over load" not in shown(study)
