import errno
import io
import os
from pathlib import Path
from typing import Any

import pytest

from objectives import Request, Workload
from results.record import TrialRecord
from tuner.errors import BadInput
from tuner.folder import Folder, write_whole


def trial(number: int) -> TrialRecord:
    return TrialRecord(
        number=number, objective="chat", config={"max_num_seqs": 256}, origin="sampler"
    )


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    made = Folder(tmp_path / "study")
    made.create()
    return made


def test_a_file_is_written_whole_or_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "summary.json"
    write_whole(path, b"first")
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, b"second")
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]


def test_the_lines_of_a_trial_are_added_all_or_none(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Short(io.FileIO):
        """Has room for ten bytes."""

        def write(self, content: Any) -> int:
            return super().write(content[:10])

    folder.append([trial(0)])
    before = folder.trials.read_bytes()
    monkeypatch.setattr(Path, "open", lambda path, mode, **more: Short(path, mode))
    with pytest.raises(OSError, match="No space left"):
        folder.append([trial(1), trial(1)])
    assert folder.trials.read_bytes() == before == (trial(0).to_json() + "\n").encode()


def test_what_a_killed_process_left_is_tidied_up(folder: Folder) -> None:
    folder.append([trial(0)])
    with folder.trials.open("a") as file:
        file.write('{"number": 1, "conf')
    for name in ("0.parquet", "1.parquet", ".1.parquet.partial"):
        (folder.path / "requests" / name).write_bytes(b"")
    for stray in (folder.path / ".summary.json.partial", folder.best / ".bulk.yaml.partial"):
        stray.write_bytes(b"")
    folder.settle([trial(0)])
    assert folder.trials.read_text() == trial(0).to_json() + "\n"
    files = [path.relative_to(folder.path) for path in folder.path.rglob("*") if path.is_file()]
    assert sorted(map(str, files)) == ["requests/0.parquet", "trials.jsonl"]


def test_one_process_at_a_time_works_on_a_folder(folder: Folder) -> None:
    with (
        folder.locked(),
        pytest.raises(BadInput, match=r"is in use by another tune process"),
        Folder(folder.path).locked(),
    ):
        pass
    with folder.locked():
        pass


def test_where_there_are_no_locks_the_work_goes_on_without(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(file: object, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", none)
    with folder.locked():
        pass


def test_a_study_that_cannot_be_begun_leaves_no_folder(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "studies" / "chat")
    with pytest.raises(BadInput), folder.beginning():
        raise BadInput("there is no room")
    assert not folder.path.exists()


def test_whoever_comes_second_leaves_the_folder_to_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = Folder(tmp_path / "study"), Folder(tmp_path / "study")
    with first.beginning():
        # Both looked before either had made it.
        monkeypatch.setattr(Path, "exists", lambda path: False)
        with pytest.raises(BadInput, match=r"in use by another tune process"), second.beginning():
            raise AssertionError
        monkeypatch.undo()
        assert first.path.is_dir()


def test_a_folder_that_was_there_before_stays(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(BadInput), Folder(tmp_path).beginning():
        raise BadInput("there is no room")
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_workloads_are_read_as_they_were_written(folder: Folder) -> None:
    requests = (Request(0.0, 9, 2), Request(1.5, 8, 1, blocks=(3,), priority=-1))
    workloads = tuple(Workload(name=name, requests=requests) for name in ("rag", "chat"))
    folder.write_workloads(workloads)
    assert folder.read_workloads(["rag", "chat"]) == workloads


def draw(name: str, tokens: int) -> Workload:
    return Workload(name=name, requests=(Request(0.0, tokens, 2), Request(1.5, tokens + 1, 3)))


def test_every_draw_of_a_workload_is_read_back_as_it_was_written(folder: Folder) -> None:
    chat, rag = draw("chat", 9), draw("rag", 20)
    redrawn = [(draw("chat", 10), draw("chat", 11)), ()]
    folder.write_workloads([chat, rag], redrawn)
    assert folder.read_workloads(["chat", "rag"]) == (chat, rag)
    assert folder.read_redrawn(["chat", "rag"]) == redrawn
    names = sorted(path.name for path in (folder.path / "workloads").iterdir())
    assert names == ["chat.2.jsonl", "chat.3.jsonl", "chat.jsonl", "rag.jsonl"]


def test_a_study_begun_without_other_draws_has_none(folder: Folder) -> None:
    folder.write_workloads([draw("chat", 9)])
    assert folder.read_redrawn(["chat"]) == [()]


def test_what_is_measured_in_turns_has_a_file_each(folder: Folder) -> None:
    path = folder.write_arm("performance_mode throughput", "max-num-seqs: 64\n")
    assert path == folder.path / "confirm" / "performance_mode-throughput.yaml"
    assert path.read_text() == "max-num-seqs: 64\n"
    assert folder.write_arm("performance_mode throughput", "other: 1\n") == path
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_settling_a_study_keeps_the_files_of_its_confirmation(folder: Folder) -> None:
    path = folder.write_arm("trial 7", "max-num-seqs: 64\n")
    folder.settle([trial(7)])
    assert path.exists()
