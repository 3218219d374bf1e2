"""What the pages say that the code knows better, and whether their links lead anywhere."""

import re
from pathlib import Path

import pytest
import yaml

from runners import FailureKind

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
PRESETS = {path.stem: path for path in (ROOT / "objectives" / "presets").glob("*.yaml")}


def test_every_kind_of_failure_has_its_section() -> None:
    page = (DOCS / "troubleshooting.md").read_text("utf-8")
    assert re.findall(r"^### (.+)$", page, re.MULTILINE) == [str(kind) for kind in FailureKind]


def test_every_objective_has_its_page_and_no_other() -> None:
    assert {path.stem for path in (DOCS / "use-cases").iterdir()} == set(PRESETS)
    index = (DOCS / "use-cases.md").read_text("utf-8")
    assert set(re.findall(r"\(use-cases/(\w+)\.md\)", index)) == set(PRESETS)


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_an_objectives_page_has_its_promise_with_its_sources(name: str) -> None:
    preset = yaml.safe_load(PRESETS[name].read_text("utf-8"))
    page = (DOCS / "use-cases" / f"{name}.md").read_text("utf-8")
    promised = re.findall(r"^\| promise \| `(.+?)`: (.+) \|$", page, re.MULTILINE)
    assert dict(promised) == preset["sla"]
    assert f" {preset['quadrant']}: " in page


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_link_to_a_file_leads_to_one(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text("utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []
