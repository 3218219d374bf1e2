"""Surfaces small enough for tests."""

import pytest

from benchmarks.search_efficiency.surface import Surface

from . import cases


@pytest.fixture
def tiny() -> Surface:
    return cases.tiny()


@pytest.fixture(scope="session")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Surface:
    return cases.tiny_twin(tmp_path_factory.mktemp("twin"))
