"""Prompt prefixes in groups of whole KV blocks, however the workload cuts them."""

from dataclasses import replace
from math import gcd

from objectives import Workload
from runners.simulated.kv_cache import BLOCK_TOKENS


def in_kv_blocks(workload: Workload) -> Workload:
    """The workload with neighbouring blocks merged until each is a number of KV blocks."""
    merged = BLOCK_TOKENS // gcd(workload.block_tokens, BLOCK_TOKENS)
    if merged == 1:
        return workload
    numbers: dict[tuple[int, ...], int] = {}

    def groups(blocks: tuple[int, ...]) -> tuple[int, ...]:
        whole = len(blocks) // merged
        parts = (blocks[i * merged : (i + 1) * merged] for i in range(whole))
        return tuple(numbers.setdefault(part, len(numbers)) for part in parts)

    return replace(
        workload,
        block_tokens=merged * workload.block_tokens,
        requests=tuple(replace(r, blocks=groups(r.blocks)) for r in workload.requests),
    )
