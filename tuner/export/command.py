"""From a study's folder to checked files of one target."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from results.export import TARGETS
from results.export.comments import commented
from results.export.provenance import (
    SUFFIX,
    Checked,
    dropped_sentence,
    header,
    provenance,
    warnings,
)
from results.export.target import CannotExpress, Rendered, Target
from tuner.errors import BadInput
from tuner.export.checking import check
from tuner.export.winner import Winner, winner
from tuner.folder import write_whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The command's options."""

    folder: Path
    quadrant: str
    to: str
    out: Path | None = None
    model: str | None = None
    force: bool = False
    check: bool = True
    storage_url: str | None = None


def export(asked: Asked) -> str:
    """Write the files; says which, what they lack and what they were checked by.

    Raises:
        BadInput: no such target or winner, a setting that cannot be said there, files that are
            there already, or files that the target would refuse.
    """
    target = target_named(asked.to)
    found = winner(asked.folder, asked.quadrant, model=asked.model, storage_url=asked.storage_url)
    try:
        rendered = target.render(found.serving)
    except CannotExpress as error:
        raise BadInput(f"{target.name}: {error}") from None
    out = asked.out or asked.folder / "exports" / target.name
    texts = _paths(rendered, out)
    if not asked.force:
        _refuse_present(texts)
    checked = Checked()
    if asked.check:
        checked = check(target, rendered, found.serving, found.command)
    for path, text in _files(found, target, rendered, checked, out).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text.encode())
    return "\n".join(_told(found, target, rendered, checked, out))


def target_named(name: str) -> Target:
    try:
        return TARGETS[name]
    except KeyError:
        known = ", ".join(TARGETS)
        raise BadInput(f"There is no target {name!r}; --to takes {known}.") from None


def _paths(rendered: Rendered, out: Path) -> list[Path]:
    return [out / f"{name}{end}" for name in rendered.files for end in ("", SUFFIX)]


def _refuse_present(paths: list[Path]) -> None:
    there = [path for path in paths if path.exists()]
    if there:
        raise BadInput(f"{there[0]} is there already; --force replaces it, --out names a folder.")


def _files(
    found: Winner, target: Target, rendered: Rendered, checked: Checked, out: Path
) -> Mapping[Path, str]:
    told = (found.origin, found.serving, target, rendered, checked)
    files: dict[Path, str] = {}
    for name, body in rendered.files.items():
        files[out / name] = commented(name, body, header(*told))
        files[out / f"{name}{SUFFIX}"] = provenance(*told)
    return files


def _told(
    found: Winner, target: Target, rendered: Rendered, checked: Checked, out: Path
) -> list[str]:
    lines = [str(out / name) for name in rendered.files]
    lines += warnings(found.origin, target)
    lines += [dropped_sentence(dropped, found.serving) for dropped in rendered.dropped]
    lines += rendered.notes
    lines.append(f"Checked by {', '.join(checked.by)}." if checked.by else "Not checked.")
    lines += [f"Not checked by {missing}." for missing in checked.missing]
    return lines
