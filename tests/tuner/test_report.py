"""The report beside a study, and ``tune report``."""

from pathlib import Path
from typing import Any

import pytest
from jinja2 import UndefinedError

from tests.tuner.conftest import QUICK, Tune
from tuner.latencies import latencies

STUDY = (*QUICK, "--trials=2", "--study=monday")


def test_a_finished_study_has_its_report_and_says_where(tmp_path: Path, tune: Tune) -> None:
    folder = tmp_path / "study"
    ended = tune(*STUDY, f"--output={folder}")
    assert ended.status == 0
    assert ended.err.splitlines()[-1] == f"Report: {folder}/report.html"
    assert (folder / "report.html").read_text("utf-8").startswith("<!doctype html>")


def test_the_answer_reads_the_same_shown_again_and_a_resumed_study_has_its_report_again(
    tmp_path: Path, tune: Tune
) -> None:
    folder = tmp_path / "study"
    ran = tune(*STUDY, "--quiet", f"--output={folder}")
    assert (ran.err, tune("show", folder)) == ("", ran)
    (folder / "report.html").unlink()
    resumed = tune("resume", folder)
    assert resumed.err.splitlines()[-1] == f"Report: {folder}/report.html"
    assert (folder / "report.html").is_file()


def test_a_report_is_written_anew_where_it_is_asked_for(tmp_path: Path, tune: Tune) -> None:
    folder, other = tmp_path / "study", tmp_path / "other.html"
    tune(*STUDY, "--quiet", f"--output={folder}")
    (folder / "report.html").unlink()
    first, second = tune("report", folder), tune("report", folder, f"--output={other}")
    assert (first.status, first.out, first.err) == (0, f"{folder}/report.html\n", "")
    assert (second.status, second.out, second.err) == (0, f"{other}\n", "")
    assert other.read_bytes() == (folder / "report.html").read_bytes()


@pytest.mark.parametrize(
    ("output", "reason"),
    [("nowhere/report.html", "No such file or directory"), ("folder", "Is a directory")],
)
def test_a_file_that_cannot_be_written_is_one_line(
    output: str, reason: str, tmp_path: Path, tune: Tune
) -> None:
    folder, place = tmp_path / "study", tmp_path / output
    tune(*STUDY, "--quiet", f"--output={folder}")
    (tmp_path / "folder").mkdir()
    ended = tune("report", folder, f"--output={place}")
    said = f"tune: {place} cannot be written: {reason}; name another with --output.\n"
    assert (ended.status, ended.out, ended.err) == (2, "", said)


def test_a_report_that_cannot_be_written_costs_no_study_its_answer(
    tmp_path: Path, tune: Tune
) -> None:
    whole, spoilt = tmp_path / "whole", tmp_path / "spoilt"
    (spoilt / "report.html").mkdir(parents=True)
    expected = tune(*STUDY, "--quiet", f"--output={whole}")
    ended = tune(*STUDY, "--quiet", f"--output={spoilt}")
    said = (
        f"The report cannot be written (Is a directory); `tune report {spoilt}` makes it good.\n"
    )
    assert (ended.status, ended.err) == (0, said)
    assert len(ended.out.splitlines()) == len(expected.out.splitlines())
    assert (spoilt / "summary.json").exists()


@pytest.mark.parametrize("mistake", [KeyError("p95_ttft_ms"), UndefinedError("no plotly")])
def test_a_mistake_in_a_report_costs_no_study_its_answer(
    mistake: Exception, tmp_path: Path, tune: Tune, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(evidence: Any) -> str:
        raise mistake

    monkeypatch.setattr("tuner.report.render", wrong)
    folder = tmp_path / "study"
    ended = tune(*STUDY, "--quiet", f"--output={folder}")
    said = f"The report cannot be written ({mistake!r}); `tune report {folder}`"
    assert (ended.status, ended.err) == (0, f"{said} makes it good.\n")


def test_requests_that_are_gone_or_damaged_are_left_out(tmp_path: Path, tune: Tune) -> None:
    folder = tmp_path / "study"
    tune(*STUDY, "--quiet", f"--output={folder}")
    (folder / "requests" / "0.parquet").write_bytes(b"PAR1 no more")
    (folder / "requests" / "1.parquet").unlink()
    assert tune("report", folder).status == 0
    page = (folder / "report.html").read_text("utf-8")
    assert "The single requests are not at hand." in page


def test_latencies_are_those_of_the_load_and_objective_asked_for(
    tmp_path: Path, tune: Tune
) -> None:
    folder = tmp_path / "study"
    tune(*STUDY, "--quiet", f"--output={folder}")
    file = folder / "requests" / "0.parquet"
    found = latencies(file, "chat", "offered")
    assert found is not None
    assert (found.unanswered, len(found.ttft_ms), len(found.tpot_ms)) == (0, 60, 60)
    assert latencies(file, "rag", "offered") is None
