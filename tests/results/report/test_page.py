"""The page as a whole: one file, nothing fetched, nothing of a study ever runs in it."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import plotly.graph_objects
import pytest

from results.report import Evidence, render
from results.report.page import SECTIONS, plotly_js
from results.report.parts import Figure
from tests.results.report.cases import ASKED, CHAT, HOSTILE, RECORDS, STUDY, evidence
from tests.results.test_summary import failed, trial


class Page(HTMLParser):
    """Elements with their attributes, and the text of each script and of the rest."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text = ""
        self._inside = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts[-1] += data
        elif self._inside != "style":
            self.text += data

    def tags(self) -> list[str]:
        return [tag for tag, _ in self.elements]

    def figures(self) -> list[Any]:
        kinds = [attrs.get("type") for tag, attrs in self.elements if tag == "script"]
        data = zip(kinds, self.scripts, strict=True)
        return [json.loads(text) for kind, text in data if kind == "application/json"]


def page(shown: Evidence | None = None) -> Page:
    return Page(render(shown or evidence(confirmed=True)))


def test_the_page_loads_nothing_from_anywhere() -> None:
    found = page()
    places = [
        value
        for _, attrs in found.elements
        for name, value in attrs.items()
        if name in ("src", "href", "srcset", "action", "poster") and value
    ]
    assert {place.partition("#")[0] for place in places} == {"", "data:,"}
    assert "link" not in {tag for tag, a in found.elements if a.get("rel") == "stylesheet"}
    assert not re.search(r"url\(|@import", render(evidence()).replace(plotly_js(), ""))


def test_nothing_runs_but_plotly_and_the_pages_own_script_by_their_digests() -> None:
    found = page()
    kinds = [attrs.get("type") for tag, attrs in found.elements if tag == "script"]
    scripts = [
        text
        for kind, text in zip(kinds, found.scripts, strict=True)
        if kind in (None, "text/plain")
    ]
    assert (len(scripts), scripts[0]) == (2, plotly_js())
    digests = [hashlib.sha256(script.encode()).digest() for script in scripts]
    named = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    policies = [a["content"] for _, a in found.elements if "http-equiv" in a]
    assert policies == [
        f"default-src 'none'; script-src {named}; style-src 'unsafe-inline'; img-src data: blob:"
    ]


def test_every_section_is_there_and_can_be_gone_to() -> None:
    found = page()
    anchors = [attrs["id"] for tag, attrs in found.elements if tag == "section"]
    links = [attrs["href"] for tag, attrs in found.elements if tag == "a"]
    assert anchors == [
        *("answer", "gain", "frontier", "load", "requests", "limits", "regret", "settings"),
        *("knobs", "time", "failures", "method"),
    ]
    assert links == [f"#{anchor}" for anchor in anchors]


def test_every_figure_is_one_that_plotly_draws() -> None:
    figures = page().figures()
    assert len(figures) == len({json.dumps(figure) for figure in figures}) == 10
    for figure in figures:
        text = re.sub(r'"var\(--[a-z-]+\)"', '"#123456"', json.dumps(figure))
        plotly.graph_objects.Figure(json.loads(text))


def test_every_figure_has_its_place_and_says_what_it_shows() -> None:
    found = page()
    plots = [attrs for _, attrs in found.elements if attrs.get("class") == "plot"]
    data = [attrs["data-for"] for _, attrs in found.elements if "data-for" in attrs]
    assert [attrs["id"] for attrs in plots] == data
    assert all(attrs["role"] == "img" and attrs["aria-label"] for attrs in plots)


def hostile() -> Evidence:
    """A study in which everything that others may write tries to run."""
    workload = {**CHAT, "source": HOSTILE, "sla": {"p95_ttft_ms<=500": HOSTILE}}
    facts = replace(
        STUDY,
        study=HOSTILE,
        model=HOSTILE,
        engine_version=HOSTILE,
        uncertainty=HOSTILE,
        hardware={"gpu": HOSTILE, "gpus": 4},
        workloads={"chat": workload},
    )
    records = [
        trial(0),
        trial(1, capacity_per_gpu=3.0, config={"max_num_seqs": 3, "wait_ms": HOSTILE}),
        failed(2, failure={"kind": HOSTILE, "detail": HOSTILE}),
        trial(3, stopped_early=True, why_stopped=HOSTILE),
        trial(4, capacity_per_gpu=1.0, config={"max_num_seqs": 5, "wait_ms": 0}),
    ]
    return evidence(records, facts=facts, folder=f"studies/{HOSTILE}", versions={"x": HOSTILE})


def test_what_a_study_holds_is_shown_as_text_and_never_runs() -> None:
    found, harmless = page(hostile()), page()
    assert "img" not in found.tags()
    assert not any(name.startswith("on") for _, attrs in found.elements for name in attrs)
    types = [attrs.get("type") for tag, attrs in found.elements if tag == "script"]
    assert (types.count(None), types.count("text/plain")) == (1, 1)
    assert set(types) == {None, "text/plain", "application/json"}
    assert found.text.count(HOSTILE) >= 10
    assert set(found.tags()) <= {*harmless.tags(), "dt", "dd"}


def test_what_a_study_holds_is_no_markup_in_figures_either() -> None:
    texts = json.dumps(page(hostile()).figures())
    assert HOSTILE[:9] not in texts
    assert "&lt;/script" in texts


def test_simulated_figures_are_called_so_before_anything_else() -> None:
    assert " ".join(page().text.split()).startswith(
        "chat-monday: chat on 4 x h100_sxm Skip to the answer Simulated. No figure on this page "
        "was measured on a GPU (uncalibrated)."
    )
    measured = page(evidence(facts=replace(STUDY, simulated=False)))
    assert "Simulated." not in measured.text


def test_a_study_that_is_not_over_says_how_far_it_got() -> None:
    assert "5 of 8 configs were tried when this was written." in page(evidence()).text
    over = page(evidence(asked=replace(ASKED, trials=5)))
    assert "when this was written" not in over.text


def test_a_study_without_a_trial_is_a_page_that_says_so() -> None:
    found = page(evidence([], importance={}, latencies={}))
    assert "No config was tried yet." in found.text
    assert found.figures() == []
    assert len(found.scripts) == 1


@pytest.mark.parametrize("section", SECTIONS)
def test_every_section_without_figures_says_why_in_a_sentence(section: Any) -> None:
    records = [failed(0), failed(1)]
    empty = section(evidence(records, importance={}, latencies={}))
    assert empty.parts
    if not any(isinstance(part, Figure) for part in empty.parts):
        assert all(part for part in empty.parts)


def test_the_page_is_small_for_all_that_is_in_it() -> None:
    many = [replace(record, number=n) for n in range(1, 500) for record in RECORDS[1:2]]
    assert len(render(evidence([RECORDS[0], *many])).encode()) < 8_000_000
