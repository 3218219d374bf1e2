"""Help whose options stand under the title of what they are about."""

from collections.abc import Mapping
from typing import Any

from typer.core import TyperCommand, TyperGroup

UNTITLED = "Options"


def titled(command: TyperCommand | TyperGroup, ctx: Any) -> Mapping[str, list[tuple[str, str]]]:
    """(option, its help) by title, in the order of the options."""
    rows: dict[str, list[tuple[str, str]]] = {}
    for parameter in command.get_params(ctx):
        row = parameter.get_help_record(ctx)
        if row is None:
            continue
        plain = "Arguments" if parameter.param_type_name == "argument" else UNTITLED
        title = getattr(parameter, "rich_help_panel", None) or plain
        rows.setdefault(title, []).append(row)
    # What has no title of its own, such as --help, comes last.
    rest = {UNTITLED: rows.pop(UNTITLED, [])}
    return {title: found for title, found in {**rows, **rest}.items() if found}


class Command(TyperCommand):
    def format_options(self, ctx: Any, formatter: Any) -> None:
        for title, rows in titled(self, ctx).items():
            with formatter.section(title):
                formatter.write_dl(rows)


class Group(TyperGroup):
    def format_options(self, ctx: Any, formatter: Any) -> None:
        for title, rows in titled(self, ctx).items():
            with formatter.section(title):
                formatter.write_dl(rows)
        self.format_commands(ctx, formatter)
