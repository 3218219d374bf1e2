import os
import sys
from pathlib import Path

import pytest

from runners.vllm.command import ask, is_cpu_build, python_of, resolve, version

VLLM = f"""#!{sys.executable}
import pathlib, sys
with open(pathlib.Path(__file__).with_name("asked"), "a") as file:
    print(*sys.argv[1:], file=file)
print("W1121 something unimportant", file=sys.stderr)
print("0.32.0+cpu")
"""


def script(path: Path, text: str = VLLM) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def vllm(tmp_path: Path) -> Path:
    return script(tmp_path / "bin" / "vllm")


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"XDG_CACHE_HOME": str(tmp_path / "cache"), "PATH": os.environ["PATH"]}


def asked(vllm: Path) -> list[str]:
    return (vllm.parent / "asked").read_text().splitlines()


def test_serve_is_added_to_vllm_alone(vllm: Path) -> None:
    assert resolve(str(vllm), {}) == (str(vllm), "serve")
    assert resolve(f"{vllm} serve", {}) == (str(vllm), "serve")
    assert resolve(f"'{vllm}' serve --api-key 'a b'", {})[1:] == ("serve", "--api-key", "a b")


def test_other_programs_are_left_as_they_are(tmp_path: Path) -> None:
    wrapper = script(tmp_path / "start-engine")
    assert resolve(str(wrapper), {}) == (str(wrapper),)
    python = resolve("python3 -m vllm.entrypoints.openai.api_server", dict(os.environ))
    assert python[1:] == ("-m", "vllm.entrypoints.openai.api_server")


def test_the_users_command_goes_before_the_variable_and_that_before_the_path(
    vllm: Path, tmp_path: Path
) -> None:
    other = script(tmp_path / "other" / "vllm")
    environ = {"PARETUNE_VLLM": str(other), "PATH": str(vllm.parent)}
    assert resolve(f"{vllm} serve", environ) == (str(vllm), "serve")
    assert resolve(None, environ) == (str(other), "serve")
    assert resolve(None, {"PATH": str(vllm.parent)}) == (str(vllm), "serve")


def test_vllm_is_looked_for_beside_this_python(
    vllm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(vllm.parent / "python"))
    assert resolve(None, {"PATH": "/no/such"}) == (str(vllm), "serve")


MEND = 'give --engine-command "DIR/bin/vllm serve", or set PARETUNE_VLLM to it.'


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", f"The engine command is empty: {MEND}"),
        ("'a", f'Cannot read the engine command "\'a" (No closing quotation): {MEND}'),
        ("/no/such/vllm serve", f"There is no /no/such/vllm: {MEND}"),
        ("no-such-vllm serve", f"There is no 'no-such-vllm' on PATH: {MEND}"),
    ],
)
def test_a_command_that_cannot_be_used_is_refused_with_what_to_do(
    text: str, complaint: str
) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the whole text is compared)
        resolve(text, {"PATH": "/no/such"})
    assert str(caught.value) == complaint


def test_a_file_that_may_not_be_run_is_refused(vllm: Path) -> None:
    vllm.chmod(0o644)
    with pytest.raises(ValueError, match=r"may not be run: `chmod \+x` it"):
        resolve(str(vllm), {})


def test_no_vllm_anywhere_says_how_to_give_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(ValueError, match="No vLLM found on PATH or beside this Python: give"):
        resolve(None, {"PATH": "/no/such"})


@pytest.mark.parametrize(
    "head",
    [
        f"#!{sys.executable}\n",
        f"#! {sys.executable} -E\n",
        f"#!/bin/sh\n'''exec' {sys.executable} \"$0\" \"$@\"\n' '''\n",
        f"#!/bin/sh\n'''exec' \"{sys.executable}\" \"$0\" \"$@\"\n' '''\n",
    ],
)
def test_the_python_of_a_script_is_in_its_first_lines(tmp_path: Path, head: str) -> None:
    assert python_of([str(script(tmp_path / "vllm", head)), "serve"]) == Path(sys.executable)


@pytest.mark.parametrize("head", ["#!/bin/bash\n", "\x7fELF", "#!/no/such/python3\n", "#!\n", ""])
def test_other_files_have_no_python(tmp_path: Path, head: str) -> None:
    assert python_of([str(script(tmp_path / "vllm", head))]) is None


def test_a_python_is_its_own_and_what_is_missing_has_none() -> None:
    assert python_of([sys.executable, "-m", "vllm"]) == Path(sys.executable)
    assert python_of(["/no/such/vllm"]) is None


def test_the_version_is_asked_once_until_the_script_changes(
    vllm: Path, environ: dict[str, str]
) -> None:
    command = (str(vllm), "serve")
    assert [version(command, environ) for _ in range(3)] == ["0.32.0+cpu"] * 3
    assert asked(vllm) == ["--version"]
    script(vllm, f"{VLLM}#")
    assert version(command, environ) == "0.32.0+cpu"
    assert asked(vllm) == ["--version"] * 2


def test_nothing_is_lost_where_nothing_can_be_remembered(
    vllm: Path, environ: dict[str, str]
) -> None:
    environ["XDG_CACHE_HOME"] = "/dev/null/cache"
    assert [version((str(vllm),), environ) for _ in range(2)] == ["0.32.0+cpu"] * 2
    assert asked(vllm) == ["--version"] * 2


def test_a_wrapper_is_asked_every_time(tmp_path: Path, environ: dict[str, str]) -> None:
    wrapper = script(tmp_path / "wrap", '#!/bin/sh\necho "$@" >>"$0.asked"; echo v0.33.0rc1\n')
    assert [version((str(wrapper), "serve"), environ) for _ in range(2)] == ["0.33.0rc1"] * 2
    assert (tmp_path / "wrap.asked").read_text() == "--version\n" * 2


def test_a_command_that_fails_is_told_with_its_last_words(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    broken = script(tmp_path / "vllm", "#!/bin/sh\necho one >&2\necho two >&2\nexit 3\n")
    with pytest.raises(ValueError, match=r"--version` failed with exit status 3: two$"):
        version((str(broken), "serve"), environ)


def test_an_answer_that_is_no_version_is_refused(tmp_path: Path, environ: dict[str, str]) -> None:
    strange = script(tmp_path / "vllm", "#!/bin/sh\necho usage\n")
    with pytest.raises(ValueError, match="must print a version, but printed 'usage"):
        version((str(strange),), environ)


def test_what_cannot_be_run_is_told(environ: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="Cannot run `/no/such`: No such file or directory"):
        ask(("/no/such",), environ)


def test_a_command_that_hangs_is_ended_with_its_children(
    tmp_path: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runners.vllm.command.ANSWER_WITHIN_S", 0.5)
    hanging = script(tmp_path / "vllm", "#!/bin/sh\nsleep 600 &\nsleep 600\n")
    with pytest.raises(ValueError, match=r"must answer within 0\.5 s"):
        ask((str(hanging),), environ)


@pytest.mark.parametrize(
    ("said", "cpu"), [("0.32.0+cpu", True), ("0.32.0+cu130", False), ("0.32.0", False)]
)
def test_the_cpu_build_says_so_in_its_version(said: str, cpu: bool) -> None:
    assert is_cpu_build(said) is cpu


def test_the_installed_vllm_says_its_version(vllm_command: str) -> None:
    assert version(resolve(vllm_command)).startswith("0.32.")
