import re
from pathlib import Path

from runners import FailureKind

DOCS = Path(__file__).parents[1] / "docs"


def test_every_kind_of_failure_has_its_section() -> None:
    page = (DOCS / "troubleshooting.md").read_text("utf-8")
    assert re.findall(r"^### (.+)$", page, re.MULTILINE) == [str(kind) for kind in FailureKind]
