"""`kv_cache.py` over records: free blocks, and prefixes shared by their numbers."""

from runners.simulated.compiled.jit import jit
from runners.simulated.compiled.state import NOBODY, Cache, Limits, Record
from runners.simulated.kv_cache import BLOCK_TOKENS


@jit
def blocks_for(tokens: int) -> int:
    """KV blocks that hold this many tokens."""
    return (tokens + BLOCK_TOKENS - 1) // BLOCK_TOKENS


@jit
def _unlink(cache: Cache, replica: Record, r: int, group: int) -> None:
    before, after = cache.before[r, group], cache.after[r, group]
    cache.after[r, before] = after
    cache.before[r, after] = before
    cache.before[r, group] = cache.after[r, group] = NOBODY
    replica.idle -= 1


@jit
def evict(cache: Cache, replica: Record, r: int, group_blocks: int) -> None:
    """Let go of idle groups, the least recently used first, that are no longer available."""
    anchor = cache.after.shape[1] - 1
    while replica.idle and replica.idle * group_blocks > replica.available:
        _unlink(cache, replica, r, cache.after[r, anchor])


@jit
def cached_groups(cache: Cache, sequence: Record, r: int, group_tokens: int) -> int:
    """Leading groups that need no computing; at least one token always does."""
    target = sequence.input_tokens + sequence.outputs
    most = min(sequence.end_group - sequence.first_group, (target - 1) // group_tokens)
    for hits in range(most):
        group = cache.groups[sequence.first_group + hits]
        if not cache.held[r, group] and cache.after[r, group] == NOBODY:
            return hits
    return most


@jit
def take(
    cache: Cache,
    replica: Record,
    sequence: Record,
    limits: Limits,
    r: int,
    hits: int,
    tokens: int,
) -> bool:
    """Hold the cached groups and allocate the first chunk, if the whole prompt would fit."""
    first, computed = sequence.first_group, hits * limits.group_tokens
    idle = 0
    for at in range(first, first + hits):
        if cache.after[r, cache.groups[at]] != NOBODY:
            idle += cache.first_time[at]
    held = idle * limits.group_blocks
    whole = blocks_for(sequence.input_tokens + sequence.outputs) - blocks_for(computed)
    if whole + held > replica.available:
        return False
    replica.available -= held
    for at in range(first, first + hits):
        group = cache.groups[at]
        if cache.after[r, group] != NOBODY:
            _unlink(cache, replica, r, group)
        cache.held[r, group] += 1
    replica.available -= blocks_for(computed + tokens) - blocks_for(computed)
    evict(cache, replica, r, limits.group_blocks)
    return True


@jit
def free(cache: Cache, replica: Record, sequence: Record, limits: Limits, r: int) -> None:
    """Let everything go; prefix groups that nobody holds stay cached, the deepest idle first."""
    shared = sequence.shared * limits.group_tokens
    replica.available += blocks_for(sequence.computed) - blocks_for(shared)
    first, anchor = sequence.first_group, cache.after.shape[1] - 1
    for at in range(first + sequence.shared - 1, first - 1, -1):
        group = cache.groups[at]
        cache.held[r, group] -= 1
        if not cache.held[r, group]:
            last = cache.before[r, anchor]
            cache.after[r, last] = cache.before[r, anchor] = group
            cache.before[r, group], cache.after[r, group] = last, anchor
            replica.idle += 1
            replica.available += limits.group_blocks
    sequence.shared = 0
    replica.refused = NOBODY


@jit
def publish(cache: Cache, replica: Record, sequence: Record, r: int, group_tokens: int) -> None:
    """Share the prefix groups the request has computed so far."""
    first = sequence.first_group
    most = min(sequence.end_group - first, sequence.computed // group_tokens)
    while sequence.shared < most:
        group = cache.groups[first + sequence.shared]
        if cache.held[r, group] or cache.after[r, group] != NOBODY:
            return
        cache.held[r, group] = 1
        sequence.shared += 1
        replica.refused = NOBODY
