"""The user guide says what its commands print."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SPEC = importlib.util.spec_from_file_location("guide", ROOT / "scripts" / "guide.py")
assert SPEC is not None
assert SPEC.loader is not None
guide = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(guide)

PAGE = """\
```console
$ echo one; echo two >&2
one
two
$ true
$ echo ETA 5 s
ETA 9 s
```
```console real
$ echo a real engine
said so
```
"""


def test_what_is_printed_is_put_into_the_page_and_real_engines_are_left_alone(
    tmp_path: Path,
) -> None:
    assert guide.masked("Compiling the simulation, once.\nETA 5 s\n") == "ETA _\n"
    stale = PAGE.replace("one\ntwo\n$ true", "three\n$ true")
    assert guide.differences(PAGE, guide.rewritten(stale, tmp_path)) == []
    found = guide.differences(stale, guide.rewritten(stale, tmp_path))
    changed = [line for line in found if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    assert changed == ["-three", "+one", "+two"]


@pytest.mark.timeout(1200)
def test_the_user_guide_shows_what_its_commands_print(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "guide.md").read_text("utf-8")
    assert guide.differences(page, guide.rewritten(page, tmp_path)) == []
