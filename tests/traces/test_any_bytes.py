"""Whatever a file holds, reading it gives a trace or one line that says why not."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tuner.errors import BadInput
from tuner.traces import read_trace, read_workload
from tuner.traces.layout import LAYOUTS

cells = st.one_of(
    st.integers(-2, 2000).map(str),
    st.floats().map(str),
    st.sampled_from(["2023-11-16 18:17:03.9799600", "0001-01-01 00:00:00+23:59", "9" * 400, '"']),
    st.text(max_size=5),
)
csv_texts = st.builds(
    lambda layout, rows: "\n".join([",".join(layout.columns), *map(",".join, rows)]),
    st.sampled_from(LAYOUTS),
    st.lists(st.lists(cells, min_size=2, max_size=4)),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 10**20) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)
columns = st.sampled_from(
    [
        *sorted({column for layout in LAYOUTS for column in layout.columns}),
        *("paretune_workload", "name", "source", "concurrency"),
        *("blocks", "hash_ids", "block_tokens", "priority"),
    ]
)
json_texts = st.lists(st.dictionaries(columns, json_values).map(json.dumps)).map("\n".join)
READABLE = (
    b"TIMESTAMP,ContextTokens,GeneratedTokens\r\n"
    b"2023-11-16 18:17:03.9799600,4808,10\r\n2023-11-16 18:17:04.2299601,3180,8\r\n",
    b"arrival_s,input_tokens,output_tokens,priority\n0,9,2,0\n1.5,9,0,-1\n2e0,9,2,1\n",
    b"input_tokens,output_tokens\n9,2\n8,1\n",
    b'{"timestamp": 0, "input_length": 900, "output_length": 5, "hash_ids": [1, 2]}\n' * 2,
    b'{"paretune_workload": 1, "name": "w", "concurrency": null, "block_tokens": 16, '
    b'"source": ""}\n' + b'{"arrival_s": 0.5, "input_tokens": 9, "output_tokens": 2}\n' * 2,
)
junk = st.binary(max_size=4) | cells.map(lambda cell: cell.encode("utf-8", "surrogatepass"))
spoiled = st.builds(
    lambda text, at, cut, junk: text[:at] + junk + text[at + cut :],
    st.sampled_from(READABLE),
    st.integers(0, 200),
    st.integers(0, 4),
    junk,
)


def complaint(read: Callable[[Path], object], path: Path) -> str | None:
    try:
        read(path)
    except BadInput as error:
        return str(error)
    return None


@settings(deadline=None)
@given(
    content=st.one_of(
        st.binary(),
        csv_texts.map(lambda text: text.encode("utf-8", "surrogatepass")),
        json_texts.map(str.encode),
        spoiled,
    )
)
@example(content=b"arrival_s,input_tokens,output_tokens\n0,1,1\n1,1,1\n")
@example(content=b'{"arrival_s": 1e308, "input_tokens": 1, "output_tokens": 1}\n' * 2)
def test_any_bytes_give_a_trace_or_a_message_of_one_line(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path: Path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(content)
    for read in (read_trace, read_workload):
        message = complaint(read, path)
        if message is not None:
            assert message.isprintable()
            assert str(path) in message


@pytest.mark.parametrize("content", READABLE)
def test_the_files_that_are_spoiled_here_are_readable_unspoiled(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "any"
    path.write_bytes(content)
    assert complaint(read_trace, path) is None
