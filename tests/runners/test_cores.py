import os

import pytest

from runners.cores import available, split


@pytest.mark.parametrize(
    ("cores", "engine", "client"),
    [
        ({3}, {3}, {3}),
        ({0, 1}, {0}, {1}),
        (set(range(8)), set(range(7)), {7}),
        (set(range(9)), set(range(7)), {7, 8}),
        ({5, 2, 11}, {2, 5}, {11}),
    ],
)
def test_the_client_gets_the_last_cores(
    cores: set[int], engine: set[int], client: set[int]
) -> None:
    assert split(frozenset(cores)) == (frozenset(engine), frozenset(client))


def test_only_cores_that_we_may_use_are_shared_out() -> None:
    assert available() == os.sched_getaffinity(0)
