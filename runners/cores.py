"""Which CPU cores the engine runs on and which the client, so that timing is not disturbed."""

import os

FEW = 8
"""Up to here one core is all the client gets."""


def available() -> frozenset[int]:
    """The cores that this process may use; in a container often fewer than there are."""
    return frozenset(os.sched_getaffinity(0))


def split(available: frozenset[int]) -> tuple[frozenset[int], frozenset[int]]:
    """(the engine's, the client's): the client gets the last one, of more than eight the last
    two; a single core is shared."""
    if len(available) < 2:
        return available, available
    client = frozenset(sorted(available)[-1 if len(available) <= FEW else -2 :])
    return available - client, client
