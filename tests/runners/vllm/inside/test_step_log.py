from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runners.step_log import Step, StepRequests, read_step_log, step_logs

Modules = Callable[[str], Any]
ROW = (1.5, 1, 100, 5000, 2, 300, 3, 4, 0.25, 1, 0.001, 0.02, 0.003)
NAMED = '{"prefills":{"a":100},"decodes":["b","c"],"preempted":["d"]}'
STEP = Step(
    start_s=1.5,
    n_prefills=1,
    prefill_tokens=100,
    prefill_attention=5000,
    n_decodes=2,
    decode_kv_tokens=300,
    running=3,
    waiting=4,
    kv_usage=0.25,
    preemptions=1,
    schedule_s=0.001,
    model_s=0.02,
    post_s=0.003,
    requests=StepRequests({"a": 100}, ("b", "c"), ("d",)),
)


@pytest.fixture
def log(modules: Modules, tmp_path: Path) -> Any:
    return modules("paretune_step_log").StepLog(str(tmp_path / "steps.csv"), requests=True)


def test_what_the_engine_writes_is_read_back(log: Any, tmp_path: Path) -> None:
    log.add((*ROW, NAMED), idle=True)
    assert read_step_log(tmp_path / "steps.csv") == (STEP,)


def test_rows_are_written_when_the_engine_falls_idle(log: Any, tmp_path: Path) -> None:
    log.add((*ROW, NAMED), idle=False)
    assert read_step_log(tmp_path / "steps.csv") == ()
    log.add((*ROW, NAMED), idle=True)
    assert read_step_log(tmp_path / "steps.csv") == (STEP, STEP)


def test_a_busy_engine_writes_its_rows_every_second(
    log: Any, tmp_path: Path, modules: Modules, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = modules("time").monotonic()
    monkeypatch.setattr(modules("paretune_step_log").time, "monotonic", lambda: now_s + 1.5)
    log.add((*ROW, NAMED), idle=False)
    assert read_step_log(tmp_path / "steps.csv") == (STEP,)


def test_a_last_line_cut_short_is_left_out(log: Any, tmp_path: Path) -> None:
    log.add((*ROW, NAMED), idle=True)
    log.add((*ROW, NAMED), idle=True)
    whole = (tmp_path / "steps.csv").read_bytes()
    first = whole.rindex(b"\n", 0, -1) + 1
    cut = tmp_path / "cut.csv"
    for end in range(first, len(whole)):
        cut.write_bytes(whole[:end])
        assert read_step_log(cut) == (STEP,)


def test_a_log_cut_inside_its_first_line_has_no_steps(tmp_path: Path) -> None:
    (tmp_path / "cut.csv").write_text("start_s,n_pre", "utf-8")
    assert read_step_log(tmp_path / "cut.csv") == ()


def test_a_file_of_other_columns_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("t,n_pre\n", "utf-8")
    with pytest.raises(ValueError, match="the first line must name the columns start_s"):
        read_step_log(tmp_path / "other.csv")


@pytest.mark.parametrize("damage", ["x", "1,2", '1,"'])
def test_a_line_in_the_middle_that_cannot_be_read_is_told(
    log: Any, tmp_path: Path, damage: str
) -> None:
    log.add((*ROW, NAMED), idle=True)
    path = tmp_path / "steps.csv"
    header, row = path.read_text("utf-8").splitlines()
    path.write_text(f"{header}\n{damage}\n{row}\n", "utf-8")
    with pytest.raises(ValueError, match=r"steps\.csv:2: "):
        read_step_log(path)


def test_every_data_parallel_engine_has_its_own_log(tmp_path: Path) -> None:
    for name in ("steps.csv.10", "steps.csv.2", "steps.csv.part", "other.csv.0"):
        (tmp_path / name).touch()
    assert [log.name for log in step_logs(tmp_path / "steps.csv")] == [
        "steps.csv.2",
        "steps.csv.10",
    ]


def test_a_log_that_cannot_be_opened_is_told_once(
    modules: Modules, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "nowhere" / "steps.csv"
    log = modules("paretune_step_log").StepLog(str(path), requests=False)
    log.add(ROW, idle=True)
    log.add(ROW, idle=True)
    assert capfd.readouterr().err == f"The step log {path} ends here: No such file or directory.\n"


def test_a_full_disk_ends_the_log_and_is_told_once(
    modules: Modules, capfd: pytest.CaptureFixture[str]
) -> None:
    log = modules("paretune_step_log").StepLog("/dev/full", requests=False)
    log.add(ROW, idle=True)
    log.add(ROW, idle=True)
    assert capfd.readouterr().err == (
        "The step log /dev/full ends here: No space left on device.\n"
    )
