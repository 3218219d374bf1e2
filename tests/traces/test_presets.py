"""The traces that ship with the package are readable excerpts."""

from pathlib import Path

import pytest

import objectives
from objectives.workload import Request
from tuner.traces import read_trace

PRESETS = Path(objectives.__file__).parent / "presets"


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [
        ("azure2023_conv.csv", Request(0.0, 374, 44), Request(424.259457, 424, 96)),
        ("azure2023_code.csv", Request(0.0, 4808, 10), Request(853.079347, 1697, 36)),
    ],
)
def test_a_shipped_excerpt_holds_two_thousand_requests(
    name: str, first: Request, last: Request
) -> None:
    trace = read_trace(PRESETS / name)
    assert (trace.name, trace.format, trace.timed) == (name, "Azure 2023", True)
    assert (len(trace.requests), trace.requests[0], trace.requests[-1]) == (2000, first, last)
    assert (trace.tick_s, trace.skipped) == (0.0, {})


def test_every_shipped_trace_names_its_source() -> None:
    sources = (PRESETS / "SOURCES.md").read_text(encoding="utf-8")
    assert [path.name for path in PRESETS.glob("*.csv") if f"`{path.name}`" not in sources] == []
