"""Ctrl-C and SIGTERM end a study between two writes, never in the midst of one."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Holds interrupts back, but where they are let in; one held back comes in there, too."""

    def __init__(self) -> None:
        self._open = False
        self._held_back = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        for number in SIGNALS:
            # Whoever starts a job in the background may have it ignore Ctrl-C.
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._take)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    @contextmanager
    def let_in(self) -> Iterator[None]:
        """Within, an interrupt raises ``KeyboardInterrupt``: once, to let an engine end."""
        self._open = True
        try:
            if self._held_back:
                self._held_back = False
                raise KeyboardInterrupt
            yield
        finally:
            self._open = False

    def _take(self, number: int, frame: FrameType | None) -> None:
        if not self._open:
            self._held_back = True
            return
        self._open = False
        raise KeyboardInterrupt
