"""Runs a command in a terminal of some size and prints what stands on its screen at a moment.

    scripts/capture_terminal.py 80x24 '12 of 40 trials' tune --objective chat --seed 1

The screen is printed as soon as it holds the text; the command is then interrupted. Needs pyte
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

import pyte

READ_BYTES = 1 << 16
SETTLED_S = 0.3
"""A frame is written in one go; when nothing follows for so long, it is whole."""


def main(size: str, text: str, *command: str) -> int:
    columns, rows = map(int, size.split("x"))
    child, terminal = pty.fork()
    if child == 0:
        os.environ["TERM"] = "xterm-256color"
        os.execvp(command[0], command)  # noqa: S606 (it is what was asked for)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    screen = pyte.Screen(columns, rows)
    found = _until(terminal, screen, text)
    print("\n".join(line.rstrip() for line in found).rstrip())
    os.kill(child, signal.SIGINT)
    _drain(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _until(terminal: int, screen: pyte.Screen, text: str) -> list[str]:
    """The screen once it holds the text, or at the end."""
    stream = pyte.ByteStream(screen)
    for read in _said(terminal):
        stream.feed(read)
        if any(text in line for line in screen.display):
            _settle(terminal, stream)
            break
    return list(screen.display)


def _settle(terminal: int, stream: pyte.ByteStream) -> None:
    until_s = time.monotonic() + SETTLED_S
    while (left_s := until_s - time.monotonic()) > 0:
        if select.select([terminal], [], [], left_s)[0]:
            stream.feed(os.read(terminal, READ_BYTES))


def _said(terminal: int):
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
