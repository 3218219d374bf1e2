"""A server that someone else started: measured, tried once, and its troubles told in one line."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from runners.testing.server import Answer, CompletionServer, Fault
from tests.tuner.conftest import Ended, Tune

TRAFFIC = (
    *("--input-tokens=30", "--output-tokens=8", "--concurrency=2", "--requests=10"),
    "--sla=median_e2el_ms<=60000",
)
MEASURE = ("measure", "--objective=chat", *TRAFFIC)
STUDY = ("--objective=chat", *TRAFFIC, "--load=offered", "--mlflow=off")
KEY = "sk-do-not-print"


def read(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def told(ended: Ended) -> tuple[int, str]:
    """Exit status and the last line on standard error, that of the command."""
    line = ended.err.splitlines()[-1] if ended.err else ""
    return ended.status, line.removeprefix("tune: ")


def test_a_server_is_measured_as_it_is(tune: Tune) -> None:
    with CompletionServer(Answer(ttft_s=0.005, gap_s=0.001)) as server:
        ended = tune(*MEASURE, "--engine=openai", f"--url={server.url}")
    answer = json.loads(ended.out)
    assert (ended.status, ended.err, answer["config"]) == (0, "", {})
    assert answer["metrics"]["completed"] == 10
    assert answer["engine"] == {
        **answer["engine"],
        "engine": "openai",
        "version": "0.32.0",
        "simulated": False,
        "model": "tiny",
        "gpu": "GPU of the server",
    }


def test_a_url_alone_says_which_engine_is_meant(tune: Tune) -> None:
    with CompletionServer() as server:
        ended = tune(*MEASURE, f"--url={server.url}/v1/")
    assert json.loads(ended.out)["engine"]["engine"] == "openai"


def test_a_study_of_a_server_is_one_trial_and_exports_nothing(tune: Tune, tmp_path: Path) -> None:
    study = tmp_path / "study"
    with CompletionServer(Answer(ttft_s=0.005, gap_s=0.001)) as server:
        ended = tune(*STUDY, "--engine=openai", f"--url={server.url}", f"--output={study}")
        again = tune("resume", study, "--mlflow=off")
    assert ended.status == again.status == 0
    summary = read(study / "summary.json")
    assert (summary["engine"], summary["simulated"]) == ("openai", False)
    assert summary["trials"]["done"] == len((study / "trials.jsonl").read_text().splitlines()) == 1
    assert list((study / "best").iterdir()) == []
    assert [path.name for path in (study / "requests").iterdir()] == ["0.parquet"]
    assert tune("show", study).out.splitlines()[0] in ended.out


def test_a_finished_study_of_a_server_is_shown_when_the_server_is_gone(
    tune: Tune, tmp_path: Path
) -> None:
    study = tmp_path / "study"
    with CompletionServer() as server:
        tune(*STUDY, f"--url={server.url}", f"--output={study}")
    ended = tune("show", study)
    assert (ended.status, ended.err) == (0, "")


def test_no_server_at_the_address_is_trouble(tune: Tune) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    assert told(tune(*MEASURE, "--engine=openai", f"--url={url}")) == (
        4,
        f"host: {url}/v1/models does not answer: [Errno 111] Connection refused; start the "
        "server, or give its address with --url",
    )


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ("--model=tony", "{url} does not serve 'tony'; nearest: tiny."),
        (
            "--api-key-env=NO_SUCH_KEY",
            "`NO_SUCH_KEY` must hold the server's API key, but it is not set; export NO_SUCH_KEY "
            "first.",
        ),
        ("--gpu=l4", "--gpu is for --engine simulated, but the engine is openai."),
        (
            "--set=max_num_seqs=4",
            "`max_num_seqs` cannot be set on a server that runs already; drop it.",
        ),
    ],
)
@pytest.mark.parametrize("command", [MEASURE, STUDY])
def test_what_a_server_cannot_be_asked_is_refused(
    tune: Tune, tmp_path: Path, command: tuple[str, ...], option: str, sentence: str
) -> None:
    study = () if command is MEASURE else (f"--output={tmp_path / 'study'}",)
    with CompletionServer() as server:
        ended = tune(*command, *study, "--engine=openai", f"--url={server.url}", option)
        expected = sentence.format(url=server.url)
    assert (told(ended), ended.out) == ((2, expected), "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault.ERROR_500, "HTTP 500: EngineCore encountered an issue."),
        (Fault.OVERLOADED_503, "HTTP 503: The queue is full."),
        (Fault.TRUNCATED, "the answer was cut short"),
        (Fault.UNFINISHED, "the stream ended before [DONE]"),
        (Fault.GARBAGE, "the stream is garbled: b'{]'"),
        (Fault.ERROR_IN_STREAM, "error in the stream: The engine died."),
        (Fault.NO_USAGE, "the stream has no usage"),
        (Fault.ABORTED, "the server ended the answer with finish_reason 'abort'"),
    ],
)
def test_a_server_that_answers_nothing_in_full_is_trouble_told_in_its_words(
    tune: Tune, tmp_path: Path, fault: Fault, said: str
) -> None:
    with CompletionServer(Answer(fault=fault)) as server:
        ended = tune(*STUDY, f"--url={server.url}", f"--output={tmp_path / 'study'}")
    status, line = told(ended)
    assert (status, ended.out) == (4, "")
    assert line.startswith(
        "The host failed 3 times in a row: A server must say how many tokens a text prompt has, "
        f"but it answered: {said}"
    )
    assert line.endswith(f"Go on with: tune resume {tmp_path / 'study'}")


def test_a_server_that_fails_now_and_then_is_measured_with_its_failures(tune: Tune) -> None:
    def sometimes(body: dict[str, Any], number: int) -> Answer:
        return Answer(fault=Fault.TRUNCATED if number % 3 == 2 else None)

    with CompletionServer(sometimes) as server:
        metrics = json.loads(tune(*MEASURE, f"--url={server.url}").out)["metrics"]
    # Two requests before the run tell how the server counts tokens.
    assert (metrics["completed"], metrics["failed"]) == (6, 4)


def test_a_key_is_sent_and_never_shown(
    tune: Tune, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVER_KEY", KEY)
    study = tmp_path / "study"
    with CompletionServer(api_key=KEY) as server:
        ended = tune(
            *STUDY, f"--url={server.url}", "--api-key-env=SERVER_KEY", f"--output={study}"
        )
        assert len(server.exchanges) > 10
    assert ended.status in (0, 3)
    assert KEY not in ended.out + ended.err
    kept = [path for path in study.rglob("*") if path.is_file()]
    assert [path for path in kept if KEY.encode() in path.read_bytes()] == []


def test_a_wrong_key_is_not_shown_where_the_server_repeats_it(
    tune: Tune, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVER_KEY", KEY)
    with CompletionServer(api_key="another") as server:
        ended = tune(
            *STUDY,
            f"--url={server.url}",
            "--api-key-env=SERVER_KEY",
            f"--output={tmp_path / 'study'}",
        )
    assert KEY not in ended.out + ended.err
    assert ended.status == 4
    assert "This API key is not valid: Bearer ***." in ended.err
