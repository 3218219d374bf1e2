"""The KV cache of one replica: blocks by number, and prompt prefixes shared by their hashes.

Blocks are counted, not placed. Only the workload's own prefix hashes are cached; a preempted
request's blocks are not, so recomputing it costs what it costs without prefix caching.
"""

from collections import OrderedDict
from collections.abc import Sequence

BLOCK_TOKENS = 16


def blocks_for(tokens: int) -> int:
    """KV blocks that hold this many tokens."""
    return -(-tokens // BLOCK_TOKENS)


class KVCache:
    """Free blocks, and prefixes in groups of ``group_blocks`` that stay until room is needed."""

    def __init__(self, blocks: int, *, group_blocks: int, prefix_caching: bool) -> None:
        self.available = blocks
        """Blocks that can be had, idle cached ones included."""
        self._group_blocks = group_blocks
        self._prefix_caching = prefix_caching
        self._held: dict[int, int] = {}
        self._idle: OrderedDict[int, None] = OrderedDict()

    def allocate(self, blocks: int) -> bool:
        """Take blocks, evicting the least recently used idle prefixes; all or nothing."""
        if blocks > self.available:
            return False
        self.available -= blocks
        self._evict()
        return True

    def release(self, blocks: int) -> None:
        self.available += blocks

    def cached(self, groups: Sequence[int]) -> int:
        """How many leading groups of a prompt are in the cache."""
        if not self._prefix_caching:
            return 0
        for count, group in enumerate(groups):
            if group not in self._held and group not in self._idle:
                return count
        return len(groups)

    def idle_blocks(self, groups: Sequence[int]) -> int:
        """Blocks of these cached groups that nobody holds: holding them makes them unavailable."""
        return self._group_blocks * len(self._idle.keys() & set(groups))

    def hold(self, groups: Sequence[int]) -> None:
        """Keep cached groups from being evicted while a request uses them."""
        self.available -= self.idle_blocks(groups)
        for group in groups:
            self._idle.pop(group, None)
            self._held[group] = self._held.get(group, 0) + 1
        self._evict()

    def publish(self, group: int) -> bool:
        """Make a holder's freshly computed group shared; ``False`` when it is already cached."""
        if not self._prefix_caching or group in self._held or group in self._idle:
            return False
        self._held[group] = 1
        return True

    def drop(self, groups: Sequence[int]) -> None:
        """Stop holding groups; those nobody holds stay cached until evicted, deepest first."""
        for group in reversed(groups):
            self._held[group] -= 1
            if not self._held[group]:
                del self._held[group]
                self._idle[group] = None
                self.available += self._group_blocks

    def _evict(self) -> None:
        while self._idle and len(self._idle) * self._group_blocks > self.available:
            self._idle.popitem(last=False)
