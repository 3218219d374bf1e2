"""One streamed answer: when its tokens came, how many they were, and whether it is whole.

An ordinary chunk is recognised by a few bytes instead of being parsed: parsing took most of a
core at 20,000 chunks a second. Quotes inside a JSON string are escaped, so that no text of an
answer can look like one of these keys.
"""

import json
from dataclasses import dataclass
from typing import Any

MESSAGE_CHARS = 200
EVENT_BYTES = 1 << 20
"""A server that sends more than this without ending an event is not speaking our protocol."""
FAILED_REASONS = frozenset({"abort", "error"})


def one_line(text: str) -> str:
    """A server's words, fit for a log: one line, printable, short."""
    words = " ".join("".join(c if c.isprintable() else " " for c in text[: 1 << 16]).split())
    return words if len(words) <= MESSAGE_CHARS else words[: MESSAGE_CHARS - 3] + "..."


@dataclass(slots=True)
class Stream:
    """Fed with what is read, as it is read."""

    first_s: float | None = None
    last_s: float | None = None
    """When the first and the last chunk with a choice were read."""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    finish_reason: str | None = None
    done: bool = False
    error: str | None = None
    _rest: bytes = b""

    def feed(self, read: bytes, now_s: float) -> None:
        whole = self._rest + read if self._rest else read
        if b"\r" in whole:
            whole = whole.replace(b"\r\n", b"\n")
        *events, self._rest = whole.split(b"\n\n")
        for event in events:
            if self.first_s is not None and _ordinary(event):
                self.last_s = now_s
            elif self.error is None:
                self._read(event, now_s)
        if len(self._rest) > EVENT_BYTES:
            self.error = self.error or f"an event of the stream is longer than {EVENT_BYTES} bytes"
            self._rest = b""

    @property
    def failure(self) -> str | None:
        """Why the answer, now that its stream has ended, is not a whole one."""
        if self.error is not None:
            return self.error
        if not self.done:
            return "the stream ended before [DONE]"
        if self.first_s is None or self.finish_reason is None:
            return "the stream has no finish_reason"
        if self.finish_reason in FAILED_REASONS:
            return f"the server ended the answer with finish_reason {self.finish_reason!r}"
        if self.prompt_tokens is None or self.completion_tokens is None:
            return "the stream has no usage"
        return None

    def _read(self, event: bytes, now_s: float) -> None:
        """Lines that are comments or fields other than ``data`` are not ours to judge."""
        for line in event.split(b"\n"):
            if line.startswith(b"data:"):
                self._take(line[5:].strip(), now_s)
            elif line.strip() and not line.startswith((b":", b"event:", b"id:", b"retry:")):
                self._garbage(line)

    def _take(self, payload: bytes, now_s: float) -> None:
        if payload == b"[DONE]":
            self.done = True
            return
        try:
            chunk = json.loads(payload)
        except (ValueError, RecursionError):
            return self._garbage(payload)
        if not isinstance(chunk, dict):
            return self._garbage(payload)
        if chunk.get("error"):
            self.error = f"error in the stream: {said(chunk)}"
            return
        self._count(chunk.get("usage"))
        choices = chunk.get("choices")
        if isinstance(choices, list) and choices and isinstance(choices[0], dict):
            self.first_s = now_s if self.first_s is None else self.first_s
            self.last_s = now_s
            if (reason := choices[0].get("finish_reason")) is not None:
                self.finish_reason = one_line(str(reason))

    def _count(self, usage: Any) -> None:
        if isinstance(usage, dict):
            counts = usage.get("prompt_tokens"), usage.get("completion_tokens")
            if all(isinstance(count, int) and count >= 0 for count in counts):
                self.prompt_tokens, self.completion_tokens = counts

    def _garbage(self, line: bytes) -> None:
        self.error = one_line(f"the stream is garbled: {line[:MESSAGE_CHARS]!r}")


def _ordinary(event: bytes) -> bool:
    return (
        b'"finish_reason":null' in event
        and event.startswith(b"data: {")
        and event.endswith(b"}")
        and b'"choices":[{' in event
        and b'"usage":{' not in event
        and b'"error"' not in event
    )


def said(body: Any) -> str:
    """The message in an error object of the OpenAI API, or the object itself, on one line."""
    inner = body.get("error", body) if isinstance(body, dict) else body
    message = inner.get("message", inner) if isinstance(inner, dict) else inner
    return one_line(str(message))
