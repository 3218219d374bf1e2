import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tuner.cli import main
from tuner.errors import EngineTrouble, Exit
from tuner.options import Options

COMMANDS = [
    *("plan", "measure", "resume", "show", "report", "compare", "sync", "ui", "export"),
    *("verify", "calibrate", "doctor"),
]
LOADED = """
import sys
before = set(sys.modules)
from tuner.cli import main
try:
    main(sys.argv[1:])
except SystemExit as left:
    assert left.code == 0
loaded = {name.partition(".")[0] for name in set(sys.modules) - before}
print(sorted(loaded - sys.stdlib_module_names), file=sys.stderr)
"""
STUDY = "--objective chat --gpus 1 --request-rate 2 --requests 60 --load offered --trials 2"
QUIET = ["--mlflow", "off", "--output", "study", "--quiet"]


def status(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert isinstance(left.value.code, int)
    return left.value.code


def program(*arguments: str, cwd: Path, out: int = subprocess.PIPE) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "tuner", *arguments],
        cwd=cwd,
        stdout=out,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def loaded_by(*arguments: str) -> set[str]:
    """The packages outside the standard library that a command loads."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *arguments], capture_output=True, check=True, text=True
    )
    return set(ast.literal_eval(done.stderr))


def test_the_help_loads_typer_and_nothing_else() -> None:
    # `annotated_doc` and `shellingham` are typer's own.
    assert loaded_by("--help") - {"annotated_doc", "shellingham"} == {"tuner", "typer"}


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_loads_nothing_of_weight(command: str) -> None:
    # typer reads options by pydantic where that is installed.
    heavy = {"aiconfigurator_core", "mlflow", "numpy", "optuna", "pandas", "sqlalchemy", "yaml"}
    assert loaded_by(command, "--help") & (heavy | {"results", "runners", "rich"}) == set()


def test_the_help_shows_an_example_and_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert status("--help") == 0
    shown = capsys.readouterr().out
    listed = shown[shown.index("\nCommands:\n") :]
    assert "Example: tune --objective chat --gpu h100_sxm --gpus 4" in shown
    assert re.findall(r"^  ([a-z]+)  ", listed, flags=re.MULTILINE) == COMMANDS
    assert "..." not in listed


def test_without_arguments_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    status("--help")
    asked = capsys.readouterr()
    assert status() == 0
    assert capsys.readouterr() == asked


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example_of_it(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(command, "--help") == 0
    assert f"Example: tune {command}" in " ".join(capsys.readouterr().out.split())


def test_options_stand_under_the_title_of_what_they_are_about(
    capsys: pytest.CaptureFixture[str],
) -> None:
    status("plan", "--help")
    titles = re.findall(r"^(\w+):$", capsys.readouterr().out, flags=re.MULTILINE)
    assert titles == ["Goal", "Engine", "Traffic", "Search", "Output", "Options"]


def test_the_options_are_those_of_the_contract() -> None:
    names = {f"--{name.replace('_', '-')}" for name in Options.__dataclass_fields__}
    contract = """
        --objective --engine --engine-command --url --api-key-env --ready-timeout --model --gpu
        --gpus --calibration --acceptance-rate --hourly-cost --workload --input-tokens
        --output-tokens --length-spread --scale-tokens --requests --prefix-share --request-rate
        --concurrency --load --deadline --documents --sla --set --range --start-from --trials
        --budget --pairs --seed --jobs --allow-lossy --allow-scheduler-class --study --output
        --storage --mlflow --json --quiet
    """
    assert names == set(contract.split())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--objectiv", "chat"], "--objective"),
        (["plam"], "'plan'"),
        (["plan", "--gpu-name", "x"], "--gpu"),
    ],
)
def test_what_is_misspelt_is_answered_with_the_nearest_in_one_line(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(*arguments) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n"), err.startswith("tune: ")) == ("", 1, True)
    assert sentence in err


@pytest.mark.parametrize(
    "arguments",
    [
        ["resume"],
        ["doctor", "extra"],
        ["plan", "--seed"],
        ["--engine", "cuda"],
        ["--load", "none"],
        ["--gpus", "2", "plan", "--objective", "chat"],
        ["-x"],
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(*arguments) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n"), err.startswith("tune: ")) == ("", 1, True)


@pytest.mark.parametrize("command", ["resume", "show", "report", "sync"])
@pytest.mark.parametrize("folder", ["nothing", "file", "file/below", "."])
def test_a_folder_without_a_study_is_refused(
    command: str,
    folder: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    assert status(command, folder) == 2
    assert capsys.readouterr() == ("", f"tune: {folder} holds no study (no study.db).\n")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("raised", "left", "sentence"),
    [
        (EngineTrouble("The host failed 3 times"), 4, "The host failed 3 times"),
        (KeyboardInterrupt(), 130, "interrupted before anything was begun"),
        (OSError(28, "No space left on device", "f"), 2, "f: No space left on device"),
    ],
)
def test_trouble_has_its_exit_status_and_one_line(
    raised: BaseException,
    left: int,
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def trouble(options: Options) -> str:
        raise raised

    # The error of a full disk closes standard output, which pytest still needs.
    monkeypatch.setattr(sys.stdout, "close", lambda: None)
    monkeypatch.setattr("tuner.plan.plan", trouble)
    assert status("plan", "--objective", "chat") == left
    assert capsys.readouterr() == ("", f"tune: {sentence}\n")


def test_a_bug_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def bug(options: Options) -> str:
        raise ZeroDivisionError

    monkeypatch.setattr("tuner.plan.plan", bug)
    with pytest.raises(ZeroDivisionError):
        main(["plan", "--objective", "chat"])


@pytest.mark.parametrize("answer", list(Exit))
def test_a_study_ends_with_its_own_status(answer: Exit, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Options] = []

    def begin(options: Options) -> Exit:
        seen.append(options)
        return answer

    monkeypatch.setattr("tuner.run.begin", begin)
    assert status("--objective", "chat", "--set", "a=1", "--set", "b=2", "--json") == answer
    assert seen == [Options(objective="chat", set=["a=1", "b=2"], range=[], json=True)]


def test_a_full_disk_behind_standard_output_is_one_line(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        left = program("plan", *STUDY.split(), cwd=tmp_path, out=full.fileno())
    assert (left[0], left[2]) == (2, "tune: standard output: No space left on device\n")


def test_a_study_from_the_command_line_is_shown_again_the_same(tmp_path: Path) -> None:
    ended = program(*STUDY.split(), *QUIET, cwd=tmp_path)
    shown = program("show", "study", cwd=tmp_path)
    summary = program("show", "study", "--json", cwd=tmp_path)
    assert ended[0] == 0
    assert shown == (0, ended[1], "")
    written = json.loads((tmp_path / "study" / "summary.json").read_text())
    assert json.loads(summary[1]) == written
    assert [path.name for path in tmp_path.iterdir()] == ["study"]
