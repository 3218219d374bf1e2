"""Files held against the target's closed schema, and its own parser where it is installed."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from results.export.provenance import Checked
from results.export.serving import Serving
from results.export.target import NotInstalled, Rendered, Target
from results.export.words import words
from runners.vllm.command import resolve
from runners.vllm.flags import Flags, bundled_flags
from runners.vllm.parse import Refused, parsed
from tuner.errors import BadInput

OWN = "our closed schema ({})"


def check(target: Target, rendered: Rendered, serving: Serving, command: str | None) -> Checked:
    """What the files were held against.

    Args:
        command: how the study started vLLM.

    Raises:
        BadInput: the files are not what the target takes, or not what was to be said.
    """
    files = rendered.files
    _refuse(target, "our closed schema", target.complaints(files))
    by, missing = [OWN.format(target.source)], []
    for parser in target.parsers:
        try:
            _refuse(target, parser.name, parser.complaints(files))
            by.append(parser.name)
        except NotInstalled as error:
            missing.append(f"{parser.name}: {error}")
    if target.read is not None:
        _refuse(target, "reading it back", _lost(target.read(files), serving.settings))
        _refuse(target, "vLLM's flags", unknown_flags(serving.settings, bundled_flags()))
        by.append(f"the flags of vLLM {target.version}")
        _ask_vllm(target, rendered, serving, command, by, missing)
    return Checked(tuple(by), tuple(missing))


def _refuse(target: Target, checker: str, complaints: list[str]) -> None:
    if complaints:
        raise BadInput(
            f"{target.name}: {checker} refuses the file: {'; '.join(complaints[:3])}; "
            "--no-check writes it all the same."
        )


def _lost(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """What the server would not be told, or told otherwise."""
    names = [*wanted, *(name for name in found if name not in wanted)]
    return [
        f"`{name}` is {found.get(name)!r} there instead of {wanted.get(name)!r}"
        for name in names
        if found.get(name) != wanted.get(name)
    ]


def unknown_flags(settings: Mapping[str, Any], flags: Flags) -> list[str]:
    """Settings that vLLM has not, or not with that value."""
    wrong = [f"`{name}` is no flag of vLLM" for name in settings if name not in _known(flags)]
    for name, value in settings.items():
        flag = flags.get(name)
        if flag is None:
            continue
        if flag.choices and str(value) not in flag.choices and not isinstance(value, dict):
            wrong.append(f"`{name}` must be one of {', '.join(flag.choices)}, but is {value}")
        if value is False and not flag.negatable:
            wrong.append(f"`{name}` cannot be switched off")
        if isinstance(value, bool) != (flag.kind == "switch"):
            wrong.append(f"`{name}` must be {flag.kind}, but is {value!r}")
    return wrong


def _known(flags: Flags) -> set[str]:
    return {*flags, "model"}


def _ask_vllm(
    target: Target,
    rendered: Rendered,
    serving: Serving,
    command: str | None,
    by: list[str],
    missing: list[str],
) -> None:
    """vLLM's own parser, where there is a vLLM: what it understood must be what was meant."""
    try:
        found = resolve(command)
    except ValueError:
        missing.append("vLLM's own parser: no vLLM is found here (`--engine-command`'s, or PATH)")
        return
    model = serving.model if Path(serving.model).is_dir() else None
    try:
        with tempfile.TemporaryDirectory() as folder:
            argv = _argv(target, rendered, serving, Path(folder))
            understood = parsed(found, argv, list(serving.settings), model=model)
    except Refused as error:
        _refuse(target, "vLLM's own parser", [str(error)])
        return
    except LookupError as error:
        missing.append(f"vLLM's own parser: {error}")
        return
    _refuse(target, "vLLM's own parser", _lost(understood.settings, serving.settings))
    by.append(f"the parser of vLLM {understood.version}")


def _argv(target: Target, rendered: Rendered, serving: Serving, folder: Path) -> list[str]:
    if target.config_text is None:
        assert target.read is not None
        settings = target.read(rendered.files)
        if target.subcommand == "serve":
            return ["serve", *words(settings)]
        rest = {name: value for name, value in settings.items() if name != "model"}
        files = ["-i", "requests.jsonl", "-o", "answers.jsonl"]
        return [target.subcommand, *files, f"--model={settings['model']}", *words(rest)]
    path = folder / "config.yaml"
    path.write_text(target.config_text(rendered.files), encoding="utf-8")
    return ["serve", "--config", str(path)]
