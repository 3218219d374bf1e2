"""Loads too small to say anything: exit 2 and one line, whichever command was to offer them."""

from pathlib import Path

import pytest

from tests.tuner.test_bad_input import said
from tuner.options import Options
from tuner.spec import resolve

COMMANDS = ("", "plan ", "measure ")
OWN = "arrival_s,input_tokens,output_tokens\n"
FILES = {
    "short.csv": OWN + "".join(f"{n},100,20\n" for n in range(40)),
    "long.csv": OWN + "".join(f"{n},{100 if n % 2 else 9000},20\n" for n in range(100)),
    "silent.csv": OWN + "0,0,5\n1,5,0\n",
    "window.yaml": "extends: api\nworkload: {trace: short.csv, window: [7.2, 7.8]}\n",
    "rate.yaml": "extends: api\nworkload: {trace: short.csv, arrivals: {request_rate: 0}}\n",
    "closed.yaml": "extends: api\nworkload: {trace: short.csv, arrivals: "
    "{process: closed-loop, concurrency: 0}}\n",
}
LENGTHS = "--input-tokens 100 --output-tokens 20"
TOO_FEW = (
    "`p95_tpot_ms<=50` takes at least 59 requests, but the api workload has {}: even without a "
    "miss so few cannot tell a promise kept from one broken; give {} or a lower percentile."
)
LONGER = "a longer trace (or shorter requests, where longer ones were left out)"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("arguments", "there", "give"),
    [
        ("--requests 58", 58, "--requests 59"),
        (f"{LENGTHS} --requests 58 --concurrency 4", 58, "--requests 59"),
        ("--workload short.csv", 40, LONGER),
        ("--workload short.csv --requests 50", 40, f"--requests 59 and {LONGER}"),
        ("--workload long.csv --set max_model_len=4096", 50, LONGER),
    ],
)
def test_a_workload_too_short_for_its_percentile_is_refused(
    command: str, arguments: str, there: int, give: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(f"{command}--objective api {arguments}", capsys) == TOO_FEW.format(there, give)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            "--objective all --requests 58",
            "`p95_tpot_ms<=40` takes at least 59 requests, but the rag workload has 58: even "
            "without a miss so few cannot tell a promise kept from one broken; give --requests 59 "
            "or a lower percentile.",
        ),
        (
            "--objective chat --requests 298 --sla p99_ttft_ms<=900",
            "`p99_ttft_ms<=900` takes at least 299 requests, but the chat workload has 298: even "
            "without a miss so few cannot tell a promise kept from one broken; give --requests "
            "299 or a lower percentile.",
        ),
        (
            "--objective offline --requests 58 --sla p95_e2el_ms<=600000",
            "`p95_e2el_ms<=600000` takes at least 59 requests, but the offline workload has 58: "
            "even without a miss so few cannot tell a promise kept from one broken; give "
            "--requests 59 or a lower percentile.",
        ),
        (
            "--objective rag --sla p99.9999_ttft_ms<=900",
            "`p99.9999_ttft_ms<=900` takes at least 2995731 requests, but the rag workload has "
            "600: even without a miss so few cannot tell a promise kept from one broken; give a "
            "lower percentile.",
        ),
    ],
)
def test_each_objective_is_held_to_its_own_percentiles(
    arguments: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(arguments, capsys) == sentence


@pytest.mark.parametrize(
    ("sla", "requests"),
    [
        ("p95_ttft_ms<=900", 59),
        ("p99_ttft_ms<=900", 299),
        ("median_ttft_ms<=900", 5),
        ("mean_ttft_ms<=900,output_throughput>=1", 2),
    ],
)
def test_just_enough_requests_are_accepted(sla: str, requests: int) -> None:
    asked = Options(
        objective="api", gpu="l4", input_tokens=9, output_tokens=9, sla=sla, requests=requests
    )
    _, [flow] = resolve(asked)
    assert len(flow.workload.requests) == requests


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("arguments", "option", "give"),
    [
        ("--request-rate 0", "--request-rate", "from 0.000001 to 10000 requests/s, but got 0.0"),
        ("--request-rate -0", "--request-rate", "from 0.000001 to 10000 requests/s, but got -0.0"),
        ("--concurrency 0", "--concurrency", "from 1 to 10000, but got 0"),
        ("--requests 0", "--requests", "from 2 to 100000, but got 0"),
        ("--documents 0", "--documents", "from 1 to 1000000000000, but got 0"),
        ("--scale-tokens 0", "--scale-tokens", "above 0 and at most 1000, but got 0.0"),
        (
            "--input-tokens 0 --output-tokens 5",
            "--input-tokens",
            "from 1 to 10000000, but got 0",
        ),
        (
            "--input-tokens 5 --output-tokens 0",
            "--output-tokens",
            "from 1 to 10000000, but got 0",
        ),
    ],
)
def test_an_option_that_asks_for_a_load_of_zero_is_refused(
    command: str, arguments: str, option: str, give: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(f"{command}--objective api {arguments}", capsys) == (
        f"{option} must be {give}: a load of zero measures nothing."
    )


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            "--objective rate.yaml",
            "rate.yaml:2: `workload.arrivals.request_rate` must be at least 0.000001, but is 0: a "
            "load of zero measures nothing.",
        ),
        (
            "--objective closed.yaml",
            "closed.yaml:2: `workload.arrivals.concurrency` must be at least 1, but is 0: a load "
            "of zero measures nothing.",
        ),
        (
            "--objective window.yaml",
            "the window 7.2 s to 7.8 s of short.csv holds fewer than two requests: a load of zero "
            "measures nothing; choose one within 0 s to 39 s.",
        ),
        (
            "--objective api --workload silent.csv",
            "silent.csv has 0 usable rows: a load of zero measures nothing; 1 rows have no input "
            "tokens; 1 rows have no output tokens (failed request); a replay needs at least two "
            "requests, so name a file whose requests have tokens in and out.",
        ),
    ],
)
def test_a_file_that_amounts_to_a_load_of_zero_is_refused(
    command: str, arguments: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(f"{command}{arguments}", capsys) == sentence
