import shlex

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from tuner.cli import app

BEGINS = "Example: tune "
ROOT = get_command(app)
assert isinstance(ROOT, TyperGroup)
COMMANDS = {"": ROOT, **ROOT.commands}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_every_command_ends_with_an_example_that_is_accepted(name: str) -> None:
    command = COMMANDS[name]
    example = command.epilog or ""
    assert example.startswith(BEGINS + name)
    words = shlex.split(example.removeprefix(BEGINS))
    with command.make_context(name or "tune", words[1:] if name else [*words]) as parsed:
        assert parsed.args == []
        assert command.get_help(parsed).split()[-len(words) :] == words


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_and_argument_says_what_it_is(name: str) -> None:
    command = COMMANDS[name]
    with command.make_context(name or "tune", ["--help"], resilient_parsing=True) as context:
        silent = [p.name for p in command.get_params(context) if not getattr(p, "help", None)]
    assert silent == []
