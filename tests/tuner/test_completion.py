import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from objectives import Quadrant
from results.export import TARGETS
from runners.simulated import catalogue
from tuner import completion

TUNE = """
import sys
sys.argv = ["tune"]
from tuner.__main__ import main
main()
"""
"""As the installed script does."""
LOADED = """
import atexit, sys
before = set(sys.modules)
atexit.register(lambda: print({name.partition(".")[0] for name in set(sys.modules) - before}))
"""


def tune(code: str = TUNE, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        check=True,
        text=True,
    )
    assert done.stderr == ""
    return done.stdout


def completed(line: str, shell: str = "bash") -> list[str]:
    """What a shell is told when TAB is pressed at the end of a line."""
    words = line.split(" ")
    said = tune(
        _TUNE_COMPLETE=f"complete_{shell}",
        COMP_WORDS=line,
        COMP_CWORD=str(len(words) - 1),
        _TYPER_COMPLETE_ARGS=line,
        _TYPER_COMPLETE_FISH_ACTION="get-args",
    )
    return [word for word in said.splitlines() if word]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("tune re", ["resume", "report"]),
        ("tune --objective ", completion.objectives()),
        ("tune plan --objective r", ["rag", "reasoning"]),
        ("tune --objective chat --gpu h", ["h100_sxm", "h200_sxm", "h100_pcie"]),
        ("tune measure --model openai/", ["openai/gpt-oss-120b", "openai/gpt-oss-20b"]),
        ("tune --engine ", ["auto", "simulated", "vllm", "openai"]),
        ("tune export studies/chat --to k", ["kubernetes", "kserve"]),
        ("tune export studies/chat --quadrant ", list(completion.QUADRANTS)),
        ("tune calibrate log.csv --gpu l4", ["l40s", "l4"]),
        ("tune --hourly", ["--hourly-cost"]),
        # Nothing: the shell completes paths itself.
        ("tune show stu", []),
        ("tune --objective my-serv", []),
    ],
)
def test_a_word_is_completed(line: str, words: list[str]) -> None:
    assert completed(line) == words


def test_zsh_and_fish_are_told_the_same_with_the_help_beside_it() -> None:
    said = "Go on with a study, or print the result of..."
    assert completed("tune resu", "fish") == [f"resume\t{said}"]
    assert completed("tune resu", "zsh") == [f"""_arguments '*: :(("resume":"{said}"))'"""]
    assert completed("tune --gpu gb", "fish") == ["gb200", "gb300"]


@pytest.mark.parametrize(
    "line", ["tune ", "tune --gpu ", "tune --objective ", "tune export d --to "]
)
def test_completing_loads_nothing_of_weight(line: str) -> None:
    said = tune(
        LOADED + TUNE,
        _TUNE_COMPLETE="complete_bash",
        COMP_WORDS=line,
        COMP_CWORD=str(len(line.split(" ")) - 1),
    )
    heavy = {"mlflow", "numba", "numpy", "optuna", "pandas", "rich", "sqlalchemy", "vllm", "yaml"}
    loaded = ast.literal_eval(said.splitlines()[-1])
    assert loaded & (heavy | {"objectives", "results", "runners", "search_spaces"}) == set()


def test_the_names_are_those_that_exist() -> None:
    assert tuple(TARGETS) == completion.TARGETS
    assert tuple(Quadrant) == completion.QUADRANTS
    assert completion.gpus() == [*(gpu.name for gpu in catalogue.gpus()), "cpu"]
    assert completion.models() == [model.name for model in catalogue.models()]
    assert completion.objectives() == [
        *("agent", "api", "chat", "code", "offline", "rag", "reasoning", "summarize", "all")
    ]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_there_is_a_script_for_each_shell(shell: str) -> None:
    script = tune(_TUNE_COMPLETE=f"source_{shell}")
    assert f"_TUNE_COMPLETE=complete_{shell}" in script


def test_bash_completes_by_its_script(tmp_path: Path) -> None:
    program = tmp_path / "tune"
    program.write_text(f"#!{sys.executable}\nfrom tuner.__main__ import main\nmain()\n")
    program.chmod(0o755)
    press_tab = """
        eval "$(_TUNE_COMPLETE=source_bash tune)"
        COMP_WORDS=(tune export studies/chat --to ku) COMP_CWORD=4
        _tune_completion tune
        echo "${COMPREPLY[@]}"
    """
    done = subprocess.run(
        ["bash", "--norc", "-c", press_tab],
        env={
            **os.environ,
            "PATH": os.pathsep.join((str(tmp_path), os.environ["PATH"])),
            "PYTHONPATH": str(Path(completion.__file__).parents[1]),
        },
        capture_output=True,
        check=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ("kubernetes\n", "")
