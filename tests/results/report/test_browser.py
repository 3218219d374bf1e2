"""The report in a real browser, where Chromium is installed."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from results.report import render
from tests.results.report.browser import LOOKS, WIDER_THAN_THE_PAGE, Look, axe, chromium, tab
from tests.results.report.cases import evidence

pytestmark = [
    pytest.mark.skipif(chromium() is None, reason="needs Chromium on PATH"),
    # Of asyncio, when a browser ends before its pipes do.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render(evidence(confirmed=True)), "utf-8")
    return path


def look_at(page: Path, look: Look, script: str = "null") -> tuple[list[str], list[str], Any]:
    """(requests, errors, what the script says) of a page that was drawn."""

    async def seen() -> tuple[list[str], list[str], Any]:
        async with tab() as opened:
            await opened.open(page, look)
            told = await opened.evaluate(script)
            return opened.requests, opened.errors, told

    return asyncio.run(seen())


@pytest.mark.parametrize("look", LOOKS, ids=lambda look: look.name)
def test_it_is_drawn_without_an_error_a_request_or_a_page_that_is_too_wide(
    look: Look, report: Path
) -> None:
    requests, errors, wide = look_at(report, look, WIDER_THAN_THE_PAGE)
    assert (requests, errors, wide) == ([report.as_uri()], [], False)


def test_every_figure_is_drawn(report: Path) -> None:
    script = "[...document.querySelectorAll('.plot')].map(p => p.querySelectorAll('svg').length)"
    drawn = look_at(report, LOOKS[0], script)[2]
    assert (len(drawn), min(drawn) > 0) == (10, True)


@pytest.mark.parametrize("look", LOOKS, ids=lambda look: look.name)
def test_axe_finds_nothing_serious(look: Look, report: Path) -> None:
    script = axe()
    if script is None:
        pytest.skip("needs axe-core: PARETUNE_AXE=node_modules/axe-core/axe.min.js")
    assert look_at(report, look, script)[2] == []
