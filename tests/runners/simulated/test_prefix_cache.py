from collections.abc import Callable

import pytest

from objectives import Request, Workload
from runners.simulated.kv_cache import KVCache
from runners.simulated.prefixes import in_kv_blocks
from runners.simulated.replica import Replica
from runners.simulated.sequence import Sequence

Serve = Callable[..., list[str]]


def test_a_prompt_skips_the_leading_blocks_it_shares_with_an_earlier_one(serve: Serve) -> None:
    log = serve(
        Request(0, 40, 1, blocks=(7, 8)),
        Request(5, 40, 1, blocks=(7, 8)),
        Request(6, 40, 1, blocks=(7, 9)),
        Request(7, 40, 1, blocks=(6, 8)),
        prefix_caching=True,
    )
    assert log == ["0 prefill 0:40", "5 prefill 1:8", "6 prefill 2:24", "7 prefill 3:40"]


def test_nothing_is_skipped_with_prefix_caching_off(serve: Serve) -> None:
    requests = Request(0, 40, 1, blocks=(7, 8)), Request(5, 40, 1, blocks=(7, 8))
    assert serve(*requests) == ["0 prefill 0:40", "5 prefill 1:40"]


def test_the_block_with_the_last_token_of_a_prompt_is_always_computed(serve: Serve) -> None:
    requests = Request(0, 32, 1, blocks=(7, 8)), Request(5, 32, 1, blocks=(7, 8))
    assert serve(*requests, prefix_caching=True) == ["0 prefill 0:32", "5 prefill 1:16"]


def test_prompts_computed_in_the_same_step_do_not_share(serve: Serve) -> None:
    requests = [Request(0, 20, 1, blocks=(7,))] * 2
    assert serve(*requests, prefix_caching=True) == ["0 prefill 0:20 1:20"]


def test_what_is_computed_so_far_is_shared_while_the_rest_is_not_yet(serve: Serve) -> None:
    requests = Request(0, 40, 1, blocks=(7, 8)), Request(0.5, 36, 1, blocks=(7, 8))
    log = serve(*requests, prefix_caching=True, max_num_batched_tokens=20)
    assert log == ["0 prefill 0:20", "1 prefill 0:20", "2 prefill 1:4"]
    log = serve(
        *requests,
        prefix_caching=True,
        max_num_batched_tokens=40,
        long_prefill_token_threshold=17,
    )
    assert log == ["0 prefill 0:40", "1 prefill 1:4"]


def test_a_group_of_many_kv_blocks_is_shared_as_a_whole(serve: Serve) -> None:
    requests = Request(0, 80, 1, blocks=(7, 8)), Request(5, 70, 1, blocks=(7, 8))
    log = serve(*requests, prefix_caching=True, group_tokens=32)
    assert log == ["0 prefill 0:80", "5 prefill 1:6"]


def test_the_least_recently_used_prefix_is_evicted_first(serve: Serve) -> None:
    def again(at_s: float, block: int) -> Request:
        return Request(at_s, 17, 1, blocks=(block,))

    log = serve(
        again(0, 1),
        again(10, 2),
        again(20, 1),
        Request(30, 80, 1),  # needs five of the six blocks
        again(40, 1),
        again(50, 2),
        prefix_caching=True,
        blocks=6,
    )
    assert log == [
        "0 prefill 0:17",
        "10 prefill 1:17",
        "20 prefill 2:1",
        "30 prefill 3:80",
        "40 prefill 4:1",
        "50 prefill 5:17",
    ]


def test_a_prefix_is_evicted_from_its_end(serve: Serve) -> None:
    requests = (
        Request(0, 33, 1, blocks=(1, 2)),
        Request(10, 80, 1),
        Request(20, 33, 1, blocks=(1, 2)),
    )
    log = serve(*requests, prefix_caching=True, blocks=6)
    assert log == ["0 prefill 0:33", "10 prefill 1:80", "20 prefill 2:17"]


def test_a_prefix_in_use_is_never_evicted(serve: Serve) -> None:
    log = serve(
        Request(0, 17, 4, blocks=(1,)),
        Request(0.5, 48, 1),
        Request(1.5, 48, 1),
        Request(2.5, 17, 1, blocks=(1,)),
        prefix_caching=True,
        blocks=5,
    )
    assert log == [
        "0 prefill 0:17",
        "1 prefill 1:48 decode 0",
        "2 prefill 2:48 decode 0",
        "3 prefill 3:1 decode 0",
    ]


def test_a_preempted_request_comes_back_to_the_prefix_it_shared(serve: Serve) -> None:
    requests = [Request(0, 32, 2), Request(0, 32, 2, blocks=(7,))]
    assert serve(*requests, prefix_caching=True, blocks=4) == [
        "0 prefill 0:32 1:32",
        "1 decode 0 preempt 1",
        "2 prefill 1:17",
    ]


def test_a_prompt_starts_only_where_all_of_it_would_fit(serve: Serve) -> None:
    # Request 0 holds three of four blocks: a chunk of request 1 would find room, all of it not.
    log = serve(Request(0, 33, 3), Request(0.5, 20, 1), blocks=4, max_num_batched_tokens=40)
    assert log == ["0 prefill 0:33", "1 decode 0", "2 decode 0", "3 prefill 1:20"]


def test_a_prompt_that_repeats_a_block_gives_everything_back(
    replica: Callable[..., Replica],
) -> None:
    engine = replica(prefix_caching=True, blocks=20)
    for turn in range(3):
        engine.add(Sequence(turn, Request(0, 70, 2, blocks=(5, 5, 6, 5)), arrival_s=0.0))
        engine.advance(100.0)
        assert engine.scheduler.cache.available == 20
    assert engine.scheduler.cached_tokens == 32 + 64


def test_a_cache_counts_idle_prefixes_as_available() -> None:
    cache = KVCache(10, group_blocks=4, prefix_caching=True)
    assert cache.allocate(8)
    assert [cache.publish(1), cache.publish(2), cache.publish(2)] == [True, True, False]
    cache.drop([1, 2])
    assert (cache.available, cache.idle_blocks([1, 2, 3])) == (10, 8)
    assert cache.cached([1, 2, 3]) == 2
    cache.hold([1])
    assert (cache.available, cache.idle_blocks([1, 2, 3])) == (6, 4)
    assert not cache.allocate(7)
    assert cache.allocate(6)
    assert (cache.available, cache.cached([1, 2])) == (0, 1)


@pytest.mark.parametrize(
    ("block_tokens", "blocks", "expected_tokens", "expected"),
    [
        (512, (7, 8, 9), 512, (7, 8, 9)),
        (16, (7, 8, 9), 16, (7, 8, 9)),
        (8, (7, 8, 9, 7, 7, 8, 9), 16, (0, 1, 0)),
        (20, (1, 2, 3, 4, 5), 80, (0,)),
    ],
)
def test_blocks_of_a_workload_are_merged_to_whole_kv_blocks(
    block_tokens: int, blocks: tuple[int, ...], expected_tokens: int, expected: tuple[int, ...]
) -> None:
    workload = Workload(
        name="t", requests=(Request(0, 200, 1, blocks=blocks),), block_tokens=block_tokens
    )
    merged = in_kv_blocks(workload)
    assert (merged.block_tokens, merged.requests[0].blocks) == (expected_tokens, expected)
