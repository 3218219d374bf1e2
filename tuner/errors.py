"""What a user did wrong, and the exit statuses of the command line."""

from enum import IntEnum


class Exit(IntEnum):
    DONE = 0
    BAD_INPUT = 2
    NO_WINNER = 3
    ENGINE_TROUBLE = 4
    INTERRUPTED = 130


class BadInput(Exception):
    """Says what is wrong, where, and how to mend it, on one line; exit 2."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class EngineTrouble(Exception):
    """The engine could not be started at all, or the host failed again and again; exit 4."""
