"""Prompts of an exact length that repeat only where the workload says so, as JSON.

A prompt follows from the salt and the request's index, a shared block from the salt and the
block's identity: equal blocks of a run are equal text, and nothing repeats under another salt,
where it would be answered from the prefix cache.
"""

import hashlib
import json
from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from objectives import Request
from runners.load.job import Numbered
from runners.load.server import Server

FIRST_ID = 16
"""Below it are a vocabulary's special tokens: padding, start, end."""
LAST_SIXTEENTH = 16
"""Newer vocabularies have theirs at the end: image placeholders, tool calls."""
PLAIN = (
    "about after again all also and any are back because been before both but can come could "
    "day down each even find first from get give good great had has have here him how into "
    "its just know like line little long look made make many more most much must name new not "
    "now number off old only other our out over part people"
)
WORDS = PLAIN.split()

Body = tuple[bytes, ...]
"""A request's JSON in pieces; a piece that requests share is held once."""


class Prompts(Protocol):
    def prompt(self, one: Numbered) -> Body:
        """The JSON of one prompt."""
        ...


class TokenPrompts:
    """Lists of token ids: exactly as many as asked for."""

    def __init__(self, *, vocab_size: int, salt: str, block_tokens: int) -> None:
        last = vocab_size - vocab_size // LAST_SIXTEENTH
        if last <= FIRST_ID:
            raise ValueError(f"`vocab_size > {FIRST_ID + 1}` must hold, but got {vocab_size}.")
        self._ids = [str(i).encode() for i in range(FIRST_ID, last)]
        self._salt, self._block_tokens = salt, block_tokens
        self._blocks: dict[int, bytes] = {}

    def prompt(self, one: Numbered) -> Body:
        shared = _shared(self._blocks, one.request, self._block)
        own = one.request.input_tokens - self._block_tokens * len(shared)
        if own < 0:
            return b"[", self._drawn(f"request {one.index}", one.request.input_tokens), b"]"
        tail = (self._drawn(f"request {one.index}", own),) if own else ()
        return b"[", *_between((*shared, *tail), b","), b"]"

    def _block(self, block: int) -> bytes:
        return self._drawn(f"block {block}", self._block_tokens)

    def _drawn(self, what: str, tokens: int) -> bytes:
        ids = self._ids
        return b",".join([ids[n % len(ids)] for n in _numbers(self._salt, what, tokens)])


@dataclass(frozen=True, slots=True)
class Calibration:
    """How a server counts our words."""

    tokens_per_word: float
    overhead_tokens: float
    """What a prompt costs beside its words, such as a token that starts it."""

    def words(self, tokens: float) -> int:
        return max(0, round(tokens / self.tokens_per_word))


class TextPrompts:
    """English words: about as many tokens as asked for, by the server's own count."""

    def __init__(self, *, calibration: Calibration, salt: str, block_tokens: int) -> None:
        self._calibration, self._salt = calibration, salt
        self._block_words = calibration.words(block_tokens)
        self._blocks: dict[int, bytes] = {}

    def prompt(self, one: Numbered) -> Body:
        shared = _shared(self._blocks, one.request, self._block)
        wanted = one.request.input_tokens - self._calibration.overhead_tokens
        own = self._calibration.words(wanted) - self._block_words * len(shared)
        tail = (self._drawn(f"request {one.index}", max(own, 1)),)
        return b'"', *_between((*shared, *tail), b" "), b'"'

    def _block(self, block: int) -> bytes:
        return self._drawn(f"block {block}", self._block_words)

    def _drawn(self, what: str, words: int) -> bytes:
        numbers = _numbers(self._salt, what, words)
        return " ".join([WORDS[n % len(WORDS)] for n in numbers]).encode()


def calibration_texts() -> tuple[str, str]:
    """Two prompts, one twice as long, in which every word comes equally often."""
    return " ".join(WORDS * 2), " ".join(WORDS * 4)


def calibrated(short_tokens: int, long_tokens: int) -> Calibration:
    """What the counts of the two ``calibration_texts`` say.

    Raises:
        ValueError: the longer text did not count for more.
    """
    words = 2 * len(WORDS)
    if long_tokens <= short_tokens:
        raise ValueError(
            f"{2 * words} words must count for more tokens than {words}, but the server counted "
            f"{long_tokens} and {short_tokens}."
        )
    per_word = (long_tokens - short_tokens) / words
    return Calibration(per_word, max(0.0, short_tokens - per_word * words))


def body(server: Server, prompt: Body, request: Request) -> Body:
    """The JSON of a streamed greedy completion that is exactly as long as asked for."""
    fields = {
        "model": server.model,
        "max_tokens": request.output_tokens,
        "ignore_eos": True,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
        **({"priority": request.priority} if request.priority else {}),
    }
    return json.dumps(fields)[:-1].encode() + b', "prompt": ', *prompt, b"}"


def _shared(known: dict[int, bytes], request: Request, make: Callable[[int], bytes]) -> Body:
    for block in request.blocks:
        if block not in known:
            known[block] = make(block)
    return tuple([known[block] for block in request.blocks])


def _between(pieces: Iterable[bytes], separator: bytes) -> Body:
    return tuple([part for piece in pieces for part in (separator, piece)][1:])


def _numbers(salt: str, what: str, count: int) -> "array[int]":
    """Uniform whole numbers, the same wherever and whenever they are asked for."""
    numbers = array("I")
    seed = f"{len(salt)} {salt} {what}".encode()
    numbers.frombytes(hashlib.shake_128(seed).digest(numbers.itemsize * count))
    return numbers
