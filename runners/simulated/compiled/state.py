"""What the compiled simulation works on: a record per request, a record per replica, and queues.

Records rather than an array per field: Numba counts references whenever it takes an array out of
a tuple, and that took most of a step's time.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Records = NDArray[np.void]
Record = Any
"""One element of an array of records, read and written by field."""

CONTINUOUS, PREFILL_FIRST, DECODE_FIRST, STATIC = range(4)
NOBODY = -1

SEQUENCE = np.dtype(
    [
        ("arrival_s", np.float64),
        ("input_tokens", np.int64),
        ("output_tokens", np.int64),
        ("priority", np.int64),
        ("first_group", np.int64),
        ("end_group", np.int64),
        ("computed", np.int64),
        ("outputs", np.int64),
        ("decoding", np.int64),
        ("shared", np.int64),
        ("granted", np.int64),
        ("preemptions", np.int64),
        ("place", np.int64),
        ("first_token_s", np.float64),
        ("finish_s", np.float64),
    ]
)
"""A request and how far it is. Its prefix groups are ``Cache.groups[first_group:end_group]``, the
first ``shared`` of them held; ``granted`` are its tokens in this step, ``place`` its order in the
queue. Times are not a number until they have come."""

REPLICA = np.dtype(
    [
        ("now_s", np.float64),
        ("busy_s", np.float64),
        ("running_s", np.float64),
        ("communication_s", np.float64),
        ("running", np.int64),
        ("decoding", np.int64),
        ("fresh", np.int64),
        ("preempted", np.int64),
        ("available", np.int64),
        ("idle", np.int64),
        ("joining", np.int64),
        ("refused", np.int64),
        ("serial", np.int64),
        ("preemptions", np.int64),
        ("cached_tokens", np.int64),
        ("steps", np.int64),
        ("prompt_tokens", np.int64),
        ("decode_tokens", np.int64),
        ("prefill_kv_tokens", np.int64),
        ("prefill_pairs", np.int64),
        ("decode_kv_tokens", np.int64),
        ("draft_tokens", np.int64),
        ("accepted_draft_tokens", np.int64),
    ]
)
"""A replica's clock, the sizes of its queues, its free blocks, and what it has done so far."""


class Limits(NamedTuple):
    """`SchedulerSettings` and the cache's sizes, as numbers."""

    max_num_seqs: int
    max_num_batched_tokens: int
    long_prefill_token_threshold: int
    chunked: bool
    by_priority: bool
    policy: int
    timeout_s: float
    wanted: int
    """Waiting requests that open the gate; ``max_num_seqs`` where the setting is 0."""
    group_tokens: int
    group_blocks: int
    prefix_caching: bool
    drafted: int
    """Speculated tokens per decoding request and step."""


class Cache(NamedTuple):
    """Prefix groups by number."""

    groups: Ints
    first_time: Ints
    """1 where a request has not had the group before."""
    held: Ints
    """[replica, group]: how many hold it."""
    before: Ints
    """[replica, group]: the idle groups as a ring, least recently used first; the last is its
    anchor, and ``NOBODY`` says that a group is not idle."""
    after: Ints


class State(NamedTuple):
    """Everything that changes."""

    sequences: Records
    replicas: Records
    running: Ints
    """[replica, place] in order of admission."""
    fresh: Ints
    """[replica, place]: a heap of requests that have not run yet."""
    preempted: Ints
    cache: Cache
    finished: Ints
    """In the order in which they finished."""
    finished_number: Ints
    """[1] how many those are."""
