"""Whatever befalls a study: one line that says what to do, nothing half-written, nothing lost."""

import os
import random
import resource
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tuner.conftest import QUICK, Tune

ROOT = Path(__file__).parents[2]
KIB = 1024


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of four trials, to be copied and damaged."""
    folder = tmp_path_factory.mktemp("faults") / "study"
    arguments = [*QUICK, "--trials=4", "--seed=1", "--quiet", f"--output={folder}"]
    subprocess.run([sys.executable, "-m", "tuner", *arguments], cwd=ROOT, check=True)
    return folder


@pytest.fixture
def study(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "study"))


def within(limit_bytes: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A `tune` that can write no file larger than the limit, as on a full disk."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))

    return subprocess.run(
        [sys.executable, "-m", "tuner", *arguments],
        cwd=ROOT,
        preexec_fn=limit,
        capture_output=True,
        text=True,
        check=False,
    )


def truncated(path: Path) -> None:
    os.truncate(path, 20_000)


def junk(path: Path) -> None:
    path.write_bytes(random.Random(1).randbytes(50_000))


def empty(path: Path) -> None:
    path.write_bytes(b"")


def of_others(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE diary (line TEXT)")
    database.close()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (truncated, "database disk image is malformed"),
        (junk, "file is not a database"),
        (empty, "no such table: version_info"),
        (of_others, "no such table: version_info"),
    ],
)
@pytest.mark.parametrize("command", ["resume", "show", "sync", "begin"])
def test_a_damaged_database_is_said_in_one_line_and_left_as_it_is(
    damage: object, reason: str, command: str, study: Path, tune: Tune
) -> None:
    assert callable(damage)
    damage(study / "study.db")
    before = (study / "study.db").read_bytes(), (study / "trials.jsonl").read_bytes()
    begin = [*QUICK, "--seed=1", f"--output={study}"]
    ended = tune(*(begin if command == "begin" else [command, study]))
    assert (ended.status, ended.out) == (2, "")
    assert ended.err == (
        f"tune: The study's database {study}/study.db cannot be used: {reason}. "
        f"{study}/trials.jsonl still holds every answered trial; choose another --output.\n"
    )
    assert ((study / "study.db").read_bytes(), (study / "trials.jsonl").read_bytes()) == before


def test_a_database_with_flipped_bytes_gives_an_answer_or_one_line(
    study: Path, tune: Tune
) -> None:
    moments = random.Random(7)
    whole = (study / "study.db").read_bytes()
    for flips in (1, 1, 3, 3, 3, 10, 10, 10, 30, 30, 30, 200):
        spoiled = bytearray(whole)
        for _ in range(flips):
            spoiled[moments.randrange(len(whole))] = moments.randrange(256)
        (study / "study.db").write_bytes(spoiled)
        ended = tune("show", study, "--json")
        if ended.status == 2:
            assert ended.err.startswith("tune: ")
            assert ended.err.count("\n") == 1
        else:
            assert ended.err == ""


def test_without_its_workload_a_study_cannot_go_on(study: Path, tune: Tune) -> None:
    (study / "workloads" / "chat.jsonl").unlink()
    for command in ("resume", "show"):
        ended = tune(command, study)
        assert (ended.status, ended.out) == (2, "")
        assert ended.err.startswith(f"tune: {study}/workloads/chat.jsonl")
        assert ended.err.count("\n") == 1


def test_trials_and_answer_are_written_again_where_they_were_deleted(
    study: Path, tune: Tune
) -> None:
    names = ["trials.jsonl", *(f"best/{path.name}" for path in (study / "best").iterdir())]
    before = [(study / name).read_text() for name in names]
    for name in [*names, "summary.json"]:
        (study / name).unlink()
    assert tune("resume", study, "--quiet").status == 0
    assert [(study / name).read_text() for name in names] == before
    assert (study / "summary.json").exists()


def test_a_folder_that_holds_this_very_study_is_refused(study: Path, tune: Tune) -> None:
    ended = tune(*QUICK, "--trials=4", "--seed=1", f"--output={study}")
    assert (ended.status, ended.out, ended.err) == (
        2,
        "",
        f"tune: {study} already holds this very study; `tune resume {study}` continues it, "
        "another --output keeps both.\n",
    )


def test_a_folder_that_holds_another_study_is_refused_with_what_differs(
    study: Path, tune: Tune
) -> None:
    ended = tune(*QUICK, "--trials=5", "--seed=2", "--request-rate=21", f"--output={study}")
    assert (ended.status, ended.err) == (
        2,
        f"tune: {study} already holds another study, which differs in trials, seed, "
        f"the workload of chat; `tune resume {study}` continues it, another --output keeps both."
        "\n",
    )


def test_trials_of_a_study_whose_database_is_gone_are_not_overwritten(
    study: Path, tune: Tune
) -> None:
    (study / "study.db").unlink()
    before = (study / "trials.jsonl").read_bytes()
    begun = tune(*QUICK, "--trials=4", "--seed=1", f"--output={study}")
    resumed = tune("resume", study)
    assert (begun.status, begun.err) == (
        2,
        f"tune: {study} holds the trials of a study whose database is gone; "
        "choose another --output.\n",
    )
    assert (resumed.status, resumed.err) == (2, f"tune: {study} holds no study (no study.db).\n")
    assert (study / "trials.jsonl").read_bytes() == before


@pytest.mark.parametrize("limit", [1 * KIB, 40 * KIB])
def test_a_study_for_which_there_is_no_room_leaves_nothing_behind(
    limit: int, tmp_path: Path
) -> None:
    ended = within(limit, *QUICK, "--trials=2", f"--output={tmp_path}/study")
    assert ended.returncode == 2
    assert ended.stdout == ""
    *opening, line = ended.stderr.splitlines()
    assert line.startswith(f"tune: {'The study' if limit > KIB else tmp_path}")
    assert not any("Traceback" in said for said in opening)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_ends_a_study_that_goes_on_once_there_is_room(
    tmp_path: Path, finished: Path, tune: Tune
) -> None:
    folder = tmp_path / "study"
    arguments = [*QUICK, "--trials=4", "--seed=1", "--quiet", f"--output={folder}"]
    ended = within(120 * KIB, *arguments)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == (
        f"tune: The study's database {folder}/study.db cannot be used: disk I/O error. "
        f"No answered trial is lost; mend that, then: tune resume {folder}\n"
    )
    done = (folder / "trials.jsonl").read_text()
    assert 0 < done.count("\n") < 4
    assert tune("resume", folder, "--quiet").status == 0
    assert (folder / "trials.jsonl").read_text().startswith(done)
    configs = [line.split('"loads"')[0] for line in done.splitlines()]
    expected = (finished / "trials.jsonl").read_text().splitlines()
    assert configs == [line.split('"loads"')[0] for line in expected[: len(configs)]]


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("/proc/paretune/study", "Cannot write to {}: No such file or directory; "),
        ("/dev/null/study", "/dev/null is a file; --output needs a folder."),
        ("/dev/null", "{} is a file; --output needs a folder."),
    ],
)
def test_a_place_that_cannot_be_written_to_is_said_in_one_line(
    output: str, said: str, tune: Tune
) -> None:
    ended = tune(*QUICK, "--quiet", f"--output={output}")
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.startswith(f"tune: {said.format(output)}")
    assert ended.err.count("\n") == 1


def test_an_answer_that_cannot_be_printed_is_on_disk(study: Path) -> None:
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "tuner", "resume", str(study), "--quiet"],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    said = f"(No space left on device), but is in {study}/summary.json."
    assert (ended.returncode, ended.stderr) == (2, f"tune: The answer cannot be printed {said}\n")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("foo://me:s3cret@h/db", "foo://h/db cannot be used: Can't load plugin"),
        ("mysql://me:s3cret@h/db", "mysql://h/db cannot be used: No module named 'MySQLdb'"),
        ("postgresql://me:s3cret@h:x/db", "postgresql://h:x/db cannot be used: its port is"),
        ("mysql://h/db?password=s3cret", "mysql://h/db cannot be used: No module named"),
        ("sqlite:////proc/x/y.db", "sqlite:////proc/x/y.db cannot be used: unable to open"),
    ],
)
def test_a_database_address_that_cannot_be_used_is_said_without_its_password(
    url: str, said: str, tmp_path: Path, tune: Tune
) -> None:
    ended = tune(*QUICK, "--quiet", f"--storage={url}", f"--output={tmp_path}/study")
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.startswith(f"tune: The study's database {said}")
    assert ended.err.count("\n") == 1
    assert "s3cret" not in ended.err
    assert list(tmp_path.iterdir()) == []
