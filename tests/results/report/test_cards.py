"""The answer at the top of the page."""

from dataclasses import replace

import pytest

from objectives import Quadrant
from results.report.advice import headline
from results.report.cards import Card, cards
from tests.results.report.cases import RECORDS, evidence, spaced
from tests.results.test_summary import INTERACTIVE, LIVE, failed, trial


def card(quadrant: Quadrant, found: list[Card]) -> Card:
    return next(c for c in found if c.quadrant is quadrant)


def test_a_card_says_what_to_change_what_it_gains_and_what_is_left_of_the_sla() -> None:
    shown = card(INTERACTIVE, cards(evidence()))
    assert (shown.own, spaced(shown.goal), shown.trial) == (True, "200 ms p95 TTFT", 1)
    assert shown.under == "chat traffic and its SLA"
    assert shown.settings == [("max_num_seqs", "64")]
    assert (spaced(shown.gain), shown.chip, shown.sure) == (
        "the default's p95 TTFT is 2x this",
        "not confirmed",
        False,
    )
    assert shown.interval is None
    assert [(m.used_percent, m.verdict) for m in shown.margins] == [(75.0, "met"), (40.0, "met")]
    assert spaced(shown.notes) == [
        ("sizing", "2 of 4 GPUs needed for the offered load, headroom 25 %, mean running batch 12")
    ]
    assert shown.commands == [
        "vllm serve --config studies/chat-monday/best/interactive.yaml",
        "tune export studies/chat-monday --quadrant interactive --to kubernetes",
    ]


def test_another_quadrant_is_served_under_an_sla_that_is_named() -> None:
    shown = card(LIVE, cards(evidence()))
    assert (shown.own, shown.under) == (False, "chat traffic under the SLA of rag")


def test_a_confirmed_gain_has_its_interval_on_a_scale_that_holds_the_default() -> None:
    shown = card(INTERACTIVE, cards(evidence(confirmed=True)))
    assert (shown.chip, shown.sure) == ("gain confirmed in 5 pairs", True)
    found = shown.interval
    assert found is not None
    assert found.default < found.low <= found.at <= found.high < 100
    assert found.text == "2 times as good as the default, between 2 and 2"


def test_a_server_that_others_launched_has_no_commands() -> None:
    assert card(INTERACTIVE, cards(evidence(exports=False))).commands == ()


def test_a_quadrant_without_a_winner_says_why_and_what_came_nearest() -> None:
    missed = [trial(0, keeps=()), trial(1, keeps=(), ttft_ms=600.0, seqs=64, excess=0.3)]
    shown = card(INTERACTIVE, cards(evidence(missed)))
    assert shown.why_none == "no config of the stock engine met its SLA"
    assert spaced(shown.nearest)[0] == "Nearest is trial 1: max_num_seqs 64."
    assert spaced(shown.nearest)[-1] == "p95_ttft_ms<=500 would have to be 616."
    assert card(LIVE, cards(evidence(missed))).nearest == ()


def test_the_first_sentence_is_what_to_do() -> None:
    assert spaced(headline(evidence())) == [
        "For interactive, set max_num_seqs 64: the default's p95 TTFT is 2x this."
    ]


def test_where_nothing_is_better_the_first_sentence_is_to_keep_the_default() -> None:
    alone = evidence([RECORDS[0]])
    assert spaced(headline(alone)) == [
        "For interactive, keep the default config: no gain over the default."
    ]
    assert card(INTERACTIVE, cards(alone)).settings == []


def test_where_nothing_could_be_served_the_first_sentence_says_so() -> None:
    assert spaced(headline(evidence([failed(0)]))) == [
        "No config for interactive: no config could be served."
    ]


@pytest.mark.parametrize(
    ("claim", "verdict"), [("met", "met"), ("undecided", "undecided"), (None, "met")]
)
def test_a_simulated_bound_is_only_met_where_real_engines_would_surely_keep_it(
    claim: str | None, verdict: str
) -> None:
    shown = evidence()
    best = dict(shown.summary["best"])
    told = {} if claim is None else {"claim": claim, "interval": [1.0, 2.0]}
    sla = {name: {**judged, **told} for name, judged in best[INTERACTIVE]["sla"].items()}
    best[INTERACTIVE] = {**best[INTERACTIVE], "sla": sla}
    found = cards(replace(shown, summary={**shown.summary, "best": best}))
    assert {margin.verdict for margin in card(INTERACTIVE, found).margins} == {verdict}
