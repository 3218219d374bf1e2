"""Runs a command in a terminal of some size and prints what stands on its screen at a moment.

    python scripts/capture_terminal.py 80x24 '12 of 40' 'probe at' -- tune --objective chat

The screen is printed once it holds each of the texts; the command is then interrupted. Needs pyte
(``pip install pyte``), a terminal in Python.
"""

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Iterator

import pyte

READ_BYTES = 1 << 16
SETTLED_S = 0.05
"""A frame is written in one go; when nothing follows for so long, it is whole."""


def main(size: str, *words: str) -> int:
    texts, command = words[: words.index("--")], words[words.index("--") + 1 :]
    columns, rows = map(int, size.split("x"))
    child, terminal = pty.fork()
    if child == 0:
        os.environ["TERM"] = "xterm-256color"
        os.execvp(command[0], command)  # noqa: S606 (it is what was asked for)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    screen = pyte.Screen(columns, rows)
    found = _until(terminal, screen, texts)
    print("\n".join(line.rstrip() for line in found).rstrip())
    os.kill(child, signal.SIGINT)
    _drain(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _until(terminal: int, screen: pyte.Screen, texts: tuple[str, ...]) -> list[str]:
    """The screen once it holds the texts, or at the end."""
    stream = pyte.ByteStream(screen)
    for read in _said(terminal):
        stream.feed(read)
        shown = "\n".join(screen.display)
        if all(text in shown for text in texts):
            _settle(terminal, stream)
            break
    return list(screen.display)


def _settle(terminal: int, stream: pyte.ByteStream) -> None:
    until_s = time.monotonic() + SETTLED_S
    while (left_s := until_s - time.monotonic()) > 0:
        if select.select([terminal], [], [], left_s)[0]:
            stream.feed(os.read(terminal, READ_BYTES))


def _said(terminal: int) -> Iterator[bytes]:
    while True:
        try:
            read = os.read(terminal, READ_BYTES)
        except OSError:  # Linux says so when the other side has gone
            return
        if not read:
            return
        yield read


def _drain(terminal: int) -> None:
    for _ in _said(terminal):
        pass


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
