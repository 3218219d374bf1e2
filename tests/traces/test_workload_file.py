"""A written workload comes back equal, or the file is left as it was."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from objectives.workload import Request, Workload
from tuner.errors import BadInput
from tuner.traces import Trace, read_trace, read_workload, write_workload

CHAT = Workload(
    name="chat",
    requests=(Request(0.1, 100, 10, (1, 2), -3), Request(0.35, 20, 5)),
    block_tokens=16,
    source="azure.csv (Azure 2023)",
)
HEADER = (
    '{"paretune_workload": 1, "name": "chat", "concurrency": null, "block_tokens": 16, '
    '"source": "azure.csv (Azure 2023)"}\n'
)

tokens = st.integers(1, 10**9)
request_lists = st.lists(
    st.builds(
        Request,
        st.floats(0, allow_nan=False, allow_infinity=False),
        tokens,
        tokens,
        st.lists(st.integers()).map(tuple),
        st.integers(),
    ),
    min_size=1,
)


def in_order(requests: Sequence[Request]) -> tuple[Request, ...]:
    return tuple(sorted(requests, key=lambda request: request.arrival_s))


workloads = st.builds(
    Workload,
    name=st.text(),
    requests=request_lists.map(in_order),
    concurrency=st.none() | st.integers(1, 10**6),
    block_tokens=st.integers(1, 10**6),
    source=st.text(),
)


@settings(deadline=None)
@given(workloads)
def test_a_written_workload_comes_back_equal(
    tmp_path_factory: pytest.TempPathFactory, workload: Workload
) -> None:
    path = tmp_path_factory.mktemp("written") / "workload.jsonl"
    write_workload(workload, path)
    assert read_workload(path) == workload


def test_a_written_workload_is_a_header_and_one_line_per_request(tmp_path: Path) -> None:
    path = tmp_path / "workload.jsonl"
    write_workload(CHAT, path)
    assert path.read_text() == (
        HEADER + '{"arrival_s": 0.1, "input_tokens": 100, "output_tokens": 10, "blocks": [1, 2], '
        '"priority": -3}\n'
        '{"arrival_s": 0.35, "input_tokens": 20, "output_tokens": 5}\n'
    )
    assert [entry.name for entry in tmp_path.iterdir()] == ["workload.jsonl"]


def test_a_written_workload_is_a_trace_too(tmp_path: Path) -> None:
    path = tmp_path / "workload.jsonl"
    write_workload(CHAT, path)
    assert read_trace(path) == Trace(
        name="workload.jsonl",
        format="paretune",
        requests=(Request(0.0, 100, 10, (1, 2), -3), Request(0.35 - 0.1, 20, 5)),
        timed=True,
        block_tokens=16,
        tick_s=0.0,
        skipped={},
    )


def test_a_closed_loop_is_a_trace_without_times(tmp_path: Path) -> None:
    path = tmp_path / "workload.jsonl"
    write_workload(CHAT.at_concurrency(8), path)
    trace = read_trace(path)
    assert (trace.timed, [request.arrival_s for request in trace.requests]) == (False, [0.0, 0.0])


def test_a_write_that_fails_leaves_the_old_file_and_no_scraps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "workload.jsonl"
    path.write_text("old")

    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(BadInput) as caught:
        write_workload(CHAT, path)
    assert str(caught.value) == (
        f"{path} cannot be written (No space left on device); check the folder and its free space."
    )
    assert [(entry.name, entry.read_text()) for entry in tmp_path.iterdir()] == [
        ("workload.jsonl", "old")
    ]


def test_a_workload_in_a_missing_folder_cannot_be_written(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "workload.jsonl"
    with pytest.raises(BadInput, match="cannot be written"):
        write_workload(CHAT, path)


ROW = {"arrival_s": 1.0, "input_tokens": 9, "output_tokens": 2}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", " is not a paretune workload; its first line must name `paretune_workload`."),
        (
            json.dumps(ROW),
            " is not a paretune workload; its first line must name `paretune_workload`.",
        ),
        (
            HEADER,
            ":1: no request follows: a load of zero measures nothing; write the workload again.",
        ),
        (
            HEADER.replace(": 1,", ": 2,"),
            ":1: `paretune_workload` must be 1, the version this release reads, but got 2; "
            "correct or remove the row.",
        ),
        (
            HEADER.replace("null", "0"),
            ":1: `concurrency` must be a whole number from 1 to 1,000,000,000, but got 0; "
            "correct or remove the row.",
        ),
        (
            HEADER.replace('"chat"', "7"),
            ":1: `name` must be a text, but got 7; correct or remove the row.",
        ),
        (
            HEADER + json.dumps(ROW) + "\n" + json.dumps(ROW | {"arrival_s": 0.5}),
            ":3: the time runs backwards; sort the file by time.",
        ),
        (
            HEADER + json.dumps(ROW | {"output_tokens": 0}),
            ":2: `output_tokens` must be a whole number from 1 to 1,000,000,000, but got 0; "
            "correct or remove the row.",
        ),
    ],
)
def test_what_is_not_a_written_workload_is_refused(
    tmp_path: Path, content: str, message: str
) -> None:
    path = tmp_path / "workload.jsonl"
    path.write_text(content)
    with pytest.raises(BadInput) as caught:
        read_workload(path)
    assert str(caught.value) == f"{path}{message}"
