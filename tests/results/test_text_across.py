"""What ``tune compare`` prints."""

from dataclasses import replace

import pytest

from results.across import compare
from results.sides import Side
from results.text.across import render
from tests.results.test_across import TRAFFIC, side

UNCONFIRMED = replace(side("C", wobble=()), state="unfinished, 3 of 40 trials")
OTHERWISE = side("D", gpus=2, simulated=False, ttft_ms=500.0)


def shown(*others: Side, width: int = 100) -> str:
    return render(compare([side(), *others]), width=width)


def section(text: str, start: str) -> str:
    return next(part for part in text.split("\n\n") if part.startswith(start))


def test_what_is_the_same_in_all_is_said_once() -> None:
    assert (
        section(shown(side("B", seed=8)), "  study")
        == """\
  study     chat-monday
  folder    A studies/A
            B studies/B
  state     finished
  begun     2026-11-30 19:03 UTC
  figures   simulated
  engine    simulated, vLLM 0.32 scheduler
  model     qwen3-8b
  GPUs      4 x l4
  objective chat
  traffic   chat, 600 requests, 7.5 req/s, 1100 tokens in, 210 out on average, azure.csv
  SLA       p95_tpot_ms<=40, p95_ttft_ms<=500
  trials    2, 2 within the SLA
  took      3 min of engine time, 0.2 GPU-hours
  seed      A 7
            B 8"""
    )


def test_winners_stand_side_by_side_with_what_changed_below() -> None:
    assert (
        section(shown(side("B", ttft_ms=100.0)), "II")
        == """\
II interactive, by p95 TTFT, ms; lower is better
                                         A     B
trial                                    1     1
p95 TTFT, ms                           200   100
capacity per GPU, req/s/GPU              3     3
GPUs needed                              2     2
output throughput per GPU, tok/s/GPU  1000  1000
gain on default                         2x    4x
The same config in all: max_num_seqs 64.
B against A: better, 2x (1.95x to 2.05x); 5 and 5 runs on draws of their own. Gain over its own
default: larger, 2x (1.95x to 2.05x)."""
    )


def test_what_cannot_be_told_or_compared_says_why_and_knobs_that_differ_are_rows() -> None:
    text = section(shown(UNCONFIRMED, OTHERWISE), "II")
    assert text.splitlines()[-3:] == [
        "max_num_seqs                            64    64   256",
        "C against A: 1x in one run each, which cannot be told: C's winner has 0 confirming runs.",
        "D against A: not comparable: one is simulated, the other measured; 4 and 2 GPUs.",
    ]


def test_runs_on_the_same_draws_are_said_to_be() -> None:
    drawn = replace(TRAFFIC, fresh=("a", "b", "c", "d", "e"))
    text = render(compare([side(traffic=drawn), side("B", capacity=2.5, traffic=drawn)]))
    assert "B against A: worse, 0.833x (0.833x to 0.833x); 5 and 5 runs on the same draws." in text


def test_many_studies_are_cut_into_several_tables_with_the_first_in_each() -> None:
    others = [replace(side(label), label=label) for label in "BCDEF"]
    lines = section(shown(*others, width=60), "II").splitlines()
    heads = [line.split() for line in lines if line.startswith(" ")]
    assert heads == [["A", "B", "C", "D"], ["A", "E", "F"]]


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ([side("B")], "2 studies, compared with the first, A. All figures are simulated, not"),
        (
            [OTHERWISE],
            "2 studies, compared with the first, A. Simulated, not measured on a GPU: A.",
        ),
    ],
)
def test_what_is_simulated_is_said_first(others: list[Side], said: str) -> None:
    assert shown(*others).startswith(said)


def test_the_method_is_told_where_something_was() -> None:
    measured = [side(simulated=False), side("B", simulated=False, ttft_ms=100.0)]
    text = " ".join(render(compare(measured)).split())
    assert "B against A: better that day, 2x (1.95x to 2.05x);" in text
    assert text.endswith(
        "a change must hold with all 7 of them counted (Holm). Studies have no state of the "
        "machine in common, so it may be the machine that changed; over its own default, measured "
        "in turns with it, that cancels."
    )
    assert "Holm" not in render(compare([UNCONFIRMED, replace(UNCONFIRMED, label="B")]))
