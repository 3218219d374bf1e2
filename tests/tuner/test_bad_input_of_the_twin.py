"""What the simulated engine and its calibration cannot use: exit 2 and one line, or a fallback."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.tuner.conftest import Tune

MEASURE = (
    *("measure", "--objective=chat", "--engine=simulated", "--requests=60", "--request-rate=1"),
    *("--input-tokens=100", "--output-tokens=10"),
)
LLAMA = "meta-llama/Llama-3.1-8B-Instruct"
CONFIG = {
    "model_type": "llama",
    "num_hidden_layers": 32,
    "hidden_size": 4096,
    "num_attention_heads": 32,
    "intermediate_size": 14336,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
}
CPU = Path(__file__).parents[1] / "runners" / "simulated" / "calibration" / "steps_cpu.csv"
HEADER, *ROWS = CPU.read_text("utf-8").splitlines()
COLUMNS = HEADER.split(",")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path


def refused(tune: Tune, *arguments: str) -> str:
    """The one line on standard error that goes with exit status 2."""
    ended = tune(*arguments)
    assert (ended.status, ended.out, ended.err.count("\n")) == (2, "", 1), ended.err
    return ended.err.removeprefix("tune: ").removesuffix("\n")


def test_an_unknown_gpu_is_told_the_nearest(tune: Tune) -> None:
    assert refused(tune, *MEASURE, "--gpu=h1000") == (
        "Unknown GPU 'h1000'; nearest: h100_sxm, h200_sxm, a100_sxm."
    )


def test_an_unknown_model_is_told_the_nearest(tune: Tune) -> None:
    assert refused(tune, *MEASURE, "--model=llama-3.1-9b") == (
        f"Unknown model 'llama-3.1-9b'; nearest: {LLAMA}, meta-llama/Llama-3.1-70B-Instruct, "
        "meta-llama/Llama-3.1-405B-Instruct; or give its folder."
    )


@pytest.mark.parametrize("field", CONFIG)
def test_a_config_json_is_told_which_field_it_lacks(tune: Tune, folder: Path, field: str) -> None:
    (folder / "mine").mkdir()
    left = {name: value for name, value in CONFIG.items() if name != field}
    (folder / "mine" / "config.json").write_text(json.dumps(left))
    mended = (
        "." if field == "model_type" else "; copy the whole config.json of the checkpoint there."
    )
    said = refused(tune, *MEASURE, "--model=./mine")
    assert said == f"mine/config.json: the field `{field}` is missing{mended}"


def engine(tune: Tune, *arguments: str) -> Any:
    ended = tune(*MEASURE, *arguments)
    assert (ended.status, ended.err) == (0, "")
    return json.loads(ended.out)["engine"]


@pytest.mark.parametrize("arguments", [("--gpu=l4",), ("--gpu=a10",)])
def test_a_gpu_without_measured_kernels_falls_back_and_says_so(
    tune: Tune, arguments: tuple[str, ...]
) -> None:
    told = engine(tune, *arguments)
    assert told["version"] == "vLLM 0.32 scheduler; analytic roofline over data-sheet figures"
    assert told["uncertainty"] == (
        "uncalibrated: within 4.0 % (median) and 9.6 % (p90) of measured-kernel times on A100, "
        "H100 and H200, which real engines exceed by 10-20 %; no constant is from H200 kernels; "
        "other GPUs unchecked"
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ("--model=llama-3.1-70b", "--gpus=1", "--set=max_model_len=4096"),
            "meta-llama/Llama-3.1-70B-Instruct (141 GB of weights) and one request of 4096 "
            "tokens do not fit on 1 x h100_sxm (80 GiB each); --gpus 2 would do.",
        ),
        (
            ("--gpu=l4", "--gpus=1", "--set=max_model_len=65536"),
            f"{LLAMA} (16 GB of weights) and one request of 65536 tokens do not fit on 1 x l4 "
            "(22 GiB each); --gpus 2 or --set max_model_len=9216 (longer requests are left out) "
            "would do.",
        ),
        (
            ("--model=falcon-180b", "--gpu=l4", "--gpus=8", "--set=max_model_len=2048"),
            "tiiuae/falcon-180B (359 GB of weights) and one request of 2048 tokens do not fit on "
            "8 x l4 (22 GiB each); no number of these GPUs up to 64 would do: name larger GPUs "
            "or a smaller --model.",
        ),
        (
            ("--gpu=l4", "--gpus=1", "--set=max_model_len=23000", "--sla=p95_tpot_ms<=90"),
            "`weights and one longest request fit` must hold (the KV cache must hold one request "
            "of max_model_len = 23000 tokens); --set max_model_len=21760 or --gpus 2 "
            "--set tensor_parallel_size=2 would do.",
        ),
    ],
)
def test_impossible_memory_is_told_what_would_do(
    tune: Tune, arguments: tuple[str, ...], sentence: str
) -> None:
    assert refused(tune, *MEASURE, *arguments) == sentence


def changed(**fields: object) -> list[str]:
    """The log with these fields in every row, a figure as it is or a text in its place."""
    rows = [dict(zip(COLUMNS, row.split(","), strict=True)) for row in ROWS]
    return [",".join(str(value) for value in (row | fields).values()) for row in rows]


DECODES = [row for row in ROWS if row.split(",")[1] == "0"]


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (
            [HEADER, *ROWS[:9], "some junk", *ROWS[9:]],
            "log.csv:11: a line must have 13 fields, but has 1; delete the line, or log the "
            "engine again.",
        ),
        (
            [HEADER, *changed(n_decodes="two")],
            "log.csv:2: `n_decodes` must be a whole number of at most 15 digits, but is 'two'; "
            "delete the line, or log the engine again.",
        ),
        (
            [HEADER, *changed(prefill_attention=10**400)],
            "log.csv:2: `prefill_attention` must be a whole number of at most 15 digits, but is "
            "'100000000000...0000000000000'; delete the line, or log the engine again.",
        ),
        (
            [HEADER, "9" * 200_000, *ROWS],
            "log.csv:2: field larger than field limit (131072); delete the line, or log the "
            "engine again.",
        ),
        (
            [HEADER, *changed(n_decodes=-1)],
            f"log.csv: Of {len(ROWS)} steps {len(ROWS)} cannot be right (negative counts, no "
            "tokens, times that run backwards or are not finite); log the engine again.",
        ),
        (
            [HEADER, *ROWS[:100]],
            "log.csv: `usable steps >= 200` must hold, but got 80 after the first 20 of each "
            "launch; log a longer run.",
        ),
        (
            [HEADER, *DECODES[:400]],
            "log.csv: `steps with prompts >= 20` must hold, but got 0; log traffic with more "
            "requests.",
        ),
        (
            ["time,tokens", "1,2"],
            f"log.csv: the first line must name the columns {HEADER} (and may name requests), "
            "but is 'time,tokens'; give a log that an engine wrote (logs/steps-N.csv of a "
            "study).",
        ),
        (
            [],
            "log.csv: `usable steps >= 200` must hold, but got 0 after the first 20 of each "
            "launch; log a longer run.",
        ),
    ],
)
def test_a_step_log_of_no_use_is_told_why(
    tune: Tune, folder: Path, lines: list[str], sentence: str
) -> None:
    (folder / "log.csv").write_text("".join(f"{line}\n" for line in lines))
    assert refused(tune, "calibrate", "log.csv") == sentence


def test_a_step_log_of_one_batch_size_is_told_so(tune: Tune, folder: Path) -> None:
    rows = changed(n_decodes=8, decode_kv_tokens=800)
    (folder / "log.csv").write_text("".join(f"{line}\n" for line in (HEADER, *rows)))
    assert refused(tune, "calibrate", "log.csv") == (
        "log.csv: Decode batches of two sizes at least are needed, but got all of 8; log traffic "
        "whose concurrency varies."
    )


def test_a_file_of_bytes_is_no_step_log(tune: Tune, folder: Path) -> None:
    (folder / "log.csv").write_bytes(b"\xff\xfe\n")
    assert refused(tune, "calibrate", "log.csv") == (
        "log.csv: must be UTF-8 text, but is not; give a log that an engine wrote "
        "(logs/steps-N.csv of a study)."
    )


def test_a_step_log_that_is_not_there_is_told_so(tune: Tune) -> None:
    assert refused(tune, "calibrate", "gone.csv") == (
        "There is no file or folder gone.csv; check the path."
    )
