"""A recorded trace: every usable row of a file, as it was recorded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from objectives.workload import Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """Requests in time order, the first at 0 s, before any scaling."""

    name: str
    """The file's name without its folder."""
    format: str
    requests: tuple[Request, ...]
    timed: bool
    """Whether the file says when requests arrived; if not, every ``arrival_s`` is 0."""
    block_tokens: int
    """Tokens per entry of ``Request.blocks``."""
    tick_s: float
    """Seconds between the ticks that the stamps are rounded to; 0.0: not rounded."""
    skipped: Mapping[str, int]
    """Reason -> rows left out for it."""

    @property
    def rows(self) -> int:
        """Rows of the file, usable or not."""
        return len(self.requests) + sum(self.skipped.values())


def tick_between(times_s: Sequence[float]) -> float:
    """Seconds between ticks when the stamps repeat heavily, else 0.0.

    Fewer than three distinct stamps are a burst or two, not evidence of a clock's tick.
    """
    distinct = sorted(set(times_s))
    if len(distinct) < 3 or len(times_s) < 2 * len(distinct):
        return 0.0
    gaps = (later - earlier for earlier, later in pairwise(distinct))
    return round(min(gaps), 6)


def with_full_blocks(request: Request, block_tokens: int) -> Request:
    """The request without block identities that its prompt does not fill."""
    full = request.input_tokens // block_tokens
    if len(request.blocks) <= full:
        return request
    return replace(request, blocks=request.blocks[:full])
