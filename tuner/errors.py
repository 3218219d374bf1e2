"""What a user did wrong, and the exit statuses of the command line."""

from enum import IntEnum

LONGEST_MESSAGE = 1000


class Exit(IntEnum):
    DONE = 0
    BAD_INPUT = 2
    NO_WINNER = 3
    ENGINE_TROUBLE = 4
    WORSE_THAN_PROMISED = 5
    INTERRUPTED = 130


class BadInput(Exception):
    """Says what is wrong, where, and how to mend it, on one line; exit 2."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


class EngineTrouble(Exception):
    """The engine could not be started at all, or the host failed again and again; exit 4."""


def one_line(text: str) -> str:
    """The text as one line that is safe to print, whatever a user's file put into it."""
    line = " ".join(text.split())
    if not line.isprintable():
        line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)
    return line if len(line) <= LONGEST_MESSAGE else f"{line[:LONGEST_MESSAGE]} ..."
