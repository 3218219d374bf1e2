"""Bad input: exit 2, one line that says what, where and how to mend it, and nothing written."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tuner.cli import main
from tuner.errors import BadInput, one_line
from tuner.options import Options
from tuner.spec import resolve
from tuner.writable import refuse_unwritable

FILES = {
    "good.csv": "arrival_s,input_tokens,output_tokens\n0,10,5\n1,20,5\n3,10,6\n",
    "empty.csv": "",
    "single.csv": "arrival_s,input_tokens,output_tokens\n0,10,5\n",
    "backwards.csv": "arrival_s,input_tokens,output_tokens\n5,10,5\n3,10,5\n",
    "broken.csv": "arrival_s,input_tokens,output_tokens\n0,10,5\n1,many,5\n",
    "broken.jsonl": '{"timestamp":0,"input_length":5,"output_length":3}\n{"timestamp":\n',
    "broken.yaml": "extends: chat\nsla: {a: [\n",
    "config.yaml": "max-num-seqs: 999999\n",
}
LENGTHS = "--input-tokens 100 --output-tokens 100"
PRESETS = "agent, api, rag, chat, code, reasoning, offline, summarize"
SLA_EXAMPLE = "`p95_ttft_ms<=500,p95_tpot_ms<=40`"
LLAMA = "meta-llama/Llama-3.1-8B-Instruct"


def said(arguments: str, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on standard error that goes with exit status 2."""
    with pytest.raises(SystemExit) as left:
        main(shlex.split(arguments))
    out, err = capsys.readouterr()
    assert (left.value.code, out, err.count("\n")) == (2, "", 1), err
    assert err.startswith("tune: ")
    return err.removeprefix("tune: ").removesuffix("\n")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("", f"--objective is needed: {PRESETS}, all or FILE."),
        (
            "--objective chatt",
            "--objective: unknown objective 'chatt'; did you mean chat? There are: "
            f"{PRESETS}, all, or the path of a YAML file.",
        ),
        (
            "--objective ''",
            "--objective: unknown objective ''. There are: "
            f"{PRESETS}, all, or the path of a YAML file.",
        ),
        (
            "--objective mixed",
            "The objective `mixed` does not exist yet; take chat or summarize.",
        ),
        (
            "--objective nothere.yaml",
            "Cannot read the study file nothere.yaml: No such file or directory; check the path.",
        ),
        (
            "--objective broken.yaml",
            "broken.yaml:3: not valid YAML: expected the node content, but found "
            "'<stream end>'; correct it.",
        ),
        (
            "--objective 'my study.yaml'",
            "--objective 'my study.yaml': a study file's name must be plain (letters, digits, "
            ". _ + -), because the study is named after it; rename the file.",
        ),
        (
            "--objective chat --model llama-3.1-9b",
            "Unknown model 'llama-3.1-9b'; nearest: "
            "meta-llama/Llama-3.1-8B-Instruct, meta-llama/Llama-3.1-70B-Instruct, "
            "meta-llama/Llama-3.1-405B-Instruct; or give its folder.",
        ),
        ("--objective chat --model ./nothere", "There is no folder './nothere'."),
        (
            "--objective chat --gpu h1000",
            "Unknown GPU 'h1000'; nearest: h100_sxm, h200_sxm, a100_sxm.",
        ),
        (
            "--objective chat --engine vllm --gpu l4",
            "--gpu is for --engine simulated, but the engine is vllm.",
        ),
        (
            "--objective chat --engine vllm --engine-command nothere",
            "There is no 'nothere' on PATH: give --engine-command \"DIR/bin/vllm serve\", or set "
            "PARETUNE_VLLM to it.",
        ),
        (
            "--objective chat --engine openai",
            "--engine openai needs --url, such as http://127.0.0.1:8000.",
        ),
        (
            "--objective chat --engine simulated --url http://127.0.0.1:8000",
            "--url is for --engine openai, but the engine is simulated.",
        ),
        (
            "--objective chat --sla p95_tfft_ms<=5",
            "Unknown metric 'p95_tfft_ms'; nearest: p95_ttft_ms, p99_ttft_ms, p95_tpot_ms. "
            f"A bound reads like {SLA_EXAMPLE}.",
        ),
        (
            "--objective chat --sla p95_ttft_ms",
            f"Cannot read the SLA 'p95_ttft_ms'; it reads like {SLA_EXAMPLE}.",
        ),
        (
            "--objective chat --sla p95_ttft_ms<=nan",
            "A bound needs a number above 0, but got p95_ttft_ms=nan.",
        ),
        (
            "--objective all --sla p95_ttft_ms<=5",
            "--sla belongs to one objective, but --objective is all; name one.",
        ),
        (
            "--objective chat --set max_num_seq=4",
            "Unknown vllm knob 'max_num_seq'; nearest: max_num_seqs, max_num_batched_tokens.",
        ),
        (
            "--objective chat --set max_num_seqs",
            "Cannot read 'max_num_seqs'; it reads like `max_num_seqs=64`.",
        ),
        (
            "--objective chat --set max_num_seqs=0",
            "`1 <= max_num_seqs <= 4096` must hold, but got 0.",
        ),
        (
            f"--objective chat --set max_num_seqs={'9' * 400}",
            "`max_num_seqs` must be a number, but got inf.",
        ),
        (
            "--objective chat --set data_parallel_size=2",
            "`data_parallel_size` follows from tensor_parallel_size and --gpus; set those.",
        ),
        (
            "--objective chat --set max-num-seqs=4 --set max_num_seqs=8",
            "--set names max_num_seqs twice; drop one.",
        ),
        (
            "--objective chat --set max_num_seqs=4 --range max-num-seqs=4:8",
            "--set and --range: `max_num_seqs` is both set and given a range; drop one.",
        ),
        (
            "--objective chat --range max_num_seqs=8:4",
            "`low <= high` must hold of the range of `max_num_seqs`, but got 8:4.",
        ),
        (
            "--objective chat --range max_num_seqs=8:",
            "Cannot read the range '8:' of `max_num_seqs`; it reads like `LOW:HIGH` or `A,B,C`.",
        ),
        (
            "--objective chat --range tensor_parallel_size=3",
            "`tensor_parallel_size` must be one of 1, 2, 4, but got 3.",
        ),
        (
            "--objective chat --range max_model_len=1:4096",
            "`max_model_len` is never searched; --set max_model_len=N says what is.",
        ),
        (
            "--objective chat --set max_model_len=200000",
            f"`1 < max_model_len <= 131072` must hold for {LLAMA}, but got 200000.",
        ),
        (
            "--objective chat --set max_num_seqs=512 --set max_num_batched_tokens=256",
            "No config can keep the rule `max_num_batched_tokens >= max_num_seqs` (a step must be "
            "able to give every running request a token) with max_num_seqs=512, "
            "max_num_batched_tokens=256; change a --set or --range.",
        ),
        (
            "--objective chat --set gpu_memory_utilization=0.05 --set max_model_len=4096",
            "No config can keep the rule `weights and one longest request fit` (the KV cache must "
            "hold one request of max_model_len = 4096 tokens) with gpu_memory_utilization=0.05; "
            "change a --set or --range.",
        ),
        (
            "--objective chat --set kv_cache_dtype=fp8 --allow-lossy --gpu a100_sxm",
            "No config can keep the rule `fp8 needs a GPU with fp8 arithmetic` (a100_sxm has "
            "none) with kv_cache_dtype=fp8; change a --set or --range.",
        ),
        (
            "--objective chat --set kv_cache_dtype=fp8",
            "`kv_cache_dtype` may change what the model answers; add --allow-lossy.",
        ),
        (
            "--objective chat --range quantization=none,fp8 --range kv_cache_dtype=auto,fp8",
            "`kv_cache_dtype`, `quantization` may change what the model answers; add "
            "--allow-lossy.",
        ),
        (
            "--objective chat --set speculative_config=ngram",
            "`speculative_config` on a simulated engine needs --acceptance-rate, accepted tokens "
            "over drafted ones: it depends on the text, and a simulation has none. A study with "
            "--engine vllm measures it (acceptance_rate), and so does vLLM's own log.",
        ),
        (
            "--objective api --model llama-3.1-70b --gpus 1 --set max_model_len=4096",
            "meta-llama/Llama-3.1-70B-Instruct (141 GB of weights) and one request of 4096 "
            "tokens do not fit on 1 x h100_sxm (80 GiB each); --gpus 2 would do.",
        ),
        (
            "--objective api --gpu l4 --gpus 1 --set max_model_len=65536",
            f"{LLAMA} (16 GB of weights) and one request of 65536 tokens do not fit on 1 x l4 "
            "(22 GiB each); --gpus 2 or --set max_model_len=9216 (longer requests are left out) "
            "would do.",
        ),
        (
            "--objective chat --start-from config.yaml",
            "config.yaml:1: `1 <= max_num_seqs <= 4096` must hold, but got 999999.",
        ),
        (
            "--objective chat --study ../elsewhere",
            "--study '../elsewhere' must be a plain name (letters, digits, . _ + -), not a path; "
            "--output says where it goes.",
        ),
        (
            "--objective chat --storage user:secret@host",
            "--storage must be a database's URL, such as sqlite:///studies.db.",
        ),
        (
            "--objective chat --mlflow ''",
            "--mlflow must be a tracking server's URI, or off, but is empty.",
        ),
        (
            "--objective chat --budget soon",
            "--budget 'soon' must be a duration such as 30m or 8h.",
        ),
        (
            "--objective chat --budget 0m",
            "--budget must be above 0 and at most 10000d, but got 0m.",
        ),
    ],
)
def test_what_cannot_be_done_is_refused_with_how_to_mend_it(
    arguments: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(f"--quiet {arguments}", capsys) == sentence


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        ("nothere.csv", "nothere.csv does not exist; check the path."),
        (".", ". is a folder; name a trace file in it."),
        (
            "empty.csv",
            "empty.csv is empty: a load of zero measures nothing; name a trace file with at least "
            "two requests.",
        ),
        (
            "single.csv",
            "single.csv has 1 usable row; a replay needs at least two requests, so name a longer "
            "file.",
        ),
        ("backwards.csv", "backwards.csv:3: the time runs backwards; sort the file by time."),
        (
            "broken.csv",
            "broken.csv:3: `input_tokens` must be a whole number from 0 to 1,000,000,000, but got "
            "'many'; correct or remove the row.",
        ),
        (
            "broken.jsonl",
            "broken.jsonl:2: not a JSON object (expecting value at character 14); write one "
            "object per line.",
        ),
    ],
)
def test_a_trace_that_cannot_be_replayed_is_refused_with_its_line(
    file: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(f"--objective chat --workload {file}", capsys) == sentence


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            "--request-rate 2 --concurrency 4",
            "Give --request-rate or --concurrency, not both.",
        ),
        ("--input-tokens 5", "--input-tokens and --output-tokens go together; give both."),
        ("--output-tokens 5", "--input-tokens and --output-tokens go together; give both."),
        (
            f"--workload good.csv {LENGTHS}",
            "Give --workload or --input-tokens and --output-tokens, not both.",
        ),
        ("--length-spread 0.5", "--length-spread needs --input-tokens and --output-tokens."),
        (
            f"--scale-tokens 2 {LENGTHS}",
            "--scale-tokens is for traces; scale --input-tokens and --output-tokens themselves.",
        ),
        (
            "--workload good.csv --prefix-share 0.5",
            "--prefix-share is for synthetic traffic; a trace brings its own prefixes.",
        ),
        (
            "--prefix-share 0.5",
            "--prefix-share is for synthetic traffic, but chat replays azure2023_conv.csv; give "
            "--input-tokens and --output-tokens.",
        ),
        ("--trials 3 --budget 30m", "Give --trials or --budget, not both."),
        ("--deadline 8h", "--deadline needs --documents, the size of the batch."),
        (
            "--deadline 8h --documents 100",
            "The chat traffic arrives over time, so that a deadline says nothing of the config; "
            "take --objective offline, or --concurrency.",
        ),
        (
            "--sla makespan_s<=60",
            "A bound on makespan_s needs --documents, the size of the batch.",
        ),
        ("plan", "--objective must come after the command: tune plan --objective ..."),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    arguments: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(f"--objective chat {arguments}", capsys) == sentence


@pytest.mark.parametrize(
    ("option", "must_be", "never"),
    [
        ("--gpus", "from 1 to 64", ["0", "-1", "65", "9" * 30]),
        ("--hourly-cost", "above 0 and at most 1000000 USD", ["0.0", "-1.0", "nan", "inf"]),
        ("--acceptance-rate", "from 0 to 1", ["-0.1", "1.1", "nan", "inf"]),
        (f"{LENGTHS} --length-spread", "above 0 and at most 1", ["0.0", "-1.0", "1.5", "nan"]),
        ("--scale-tokens", "above 0 and at most 1000", ["-1.0", "nan", "inf"]),
        ("--requests", "from 2 to 100000", ["1", "-1", "100001"]),
        ("--prefix-share", "from 0 to below 1", ["-0.1", "1.0", "nan", "inf"]),
        (
            "--request-rate",
            "from 0.000001 to 10000 requests/s",
            ["-1.0", "nan", "inf", "1e-300", "1e+300"],
        ),
        ("--concurrency", "from 1 to 10000", ["-1", "10001"]),
        ("--documents", "from 1 to 1000000000000", ["-1", "9" * 30]),
        ("--output-tokens 5 --input-tokens", "from 1 to 10000000", ["-1", "9" * 30]),
        ("--input-tokens 5 --output-tokens", "from 1 to 10000000", ["-1", "9" * 30]),
        ("--trials", "from 1 to 1000000", ["0", "-1", "9" * 30]),
        ("--seed", "from 0 to 4294967295", ["-1", "4294967296"]),
        ("--jobs", "1: this version runs one trial at a time", ["0", "2", "-1"]),
    ],
)
def test_a_number_is_refused_where_it_cannot_be_meant(
    option: str, must_be: str, never: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    name = option.rpartition(" ")[2]
    refusals = [said(f"--objective chat {option} {number}", capsys) for number in never]
    assert refusals == [f"{name} must be {must_be}, but got {number}." for number in never]


@pytest.mark.parametrize(
    "option",
    ["--gpus", "--requests", "--concurrency", "--documents", "--trials", "--seed", "--jobs"],
)
@pytest.mark.parametrize("number", ["nan", "inf", "1.5", "many", "''"])
def test_a_count_that_is_no_whole_number_is_refused(
    option: str, number: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(f"--objective chat {option} {number}", capsys).startswith(
        f"Invalid value for '{option}': "
    )


@pytest.mark.parametrize(
    ("output", "sentence"),
    [
        ("good.csv", "good.csv is a file; --output needs a folder."),
        ("good.csv/deep/study", "good.csv is a file; --output needs a folder."),
        ("/dev/full", "/dev/full is a file; --output needs a folder."),
        (
            "/proc/study",
            "Cannot write to /proc/study: No such file or directory; choose another --output.",
        ),
    ],
)
def test_an_output_that_cannot_be_written_is_refused_before_anything_is_computed(
    output: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(f"--objective chat --output {output}", capsys) == sentence


def test_looking_for_a_writable_folder_leaves_nothing(folder: Path) -> None:
    refuse_unwritable(folder / "studies" / "chat")
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)


def test_bad_input_leaves_nothing_behind(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said("--objective chat --set max_num_seqs=512 --set max_num_batched_tokens=256", capsys)
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)


def test_a_program_of_its_own_says_the_same(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tuner", "--objective", "chatt"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "tune: --objective: unknown objective 'chatt'; did you mean chat? There are: "
        f"{PRESETS}, all, or the path of a YAML file.\n"
    )


def test_a_message_is_one_printable_line_of_bounded_length() -> None:
    assert one_line("a\n  b\tc\x0b\u2028d") == "a b c d"
    assert one_line("clear \x1b[2J \x00") == "clear \\x1b[2J \\x00"
    assert one_line("x" * 2000) == "x" * 1000 + " ..."
    assert str(BadInput("two\nlines")) == "two lines"


def test_a_gpu_count_that_does_not_divide_the_heads_leaves_replicas_only() -> None:
    spec, _ = resolve(Options(objective="api", gpus=3, requests=60))
    assert spec.target.gpus == 3
