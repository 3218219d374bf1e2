"""Settings shared by all tests."""

import signal
from pathlib import Path

import pytest
from hypothesis import settings

from objectives import Load, Request, Workload
from runners.simulated import SimulatedRunner
from runners.simulated.catalogue import gpu, model
from search_spaces import Deployment
from search_spaces.vllm import vllm_space

# A busy machine must not fail a property for being slow.
settings.register_profile("steady", deadline=None, print_blob=True)
settings.load_profile("steady")

# A shell starts what it puts in the background with SIGINT ignored, and an ignored signal stays
# ignored in every child; the tests of Ctrl-C need it whoever runs them.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_sessionstart() -> None:
    """Compile the simulation: the first to use it says so, which no test should have to expect."""
    deployment = Deployment(model=model("llama-3.1-8b"), gpu=gpu("l4"), gpus=1, max_model_len=1024)
    one = Workload(name="one", requests=(Request(0.0, 16, 2),))
    with SimulatedRunner(deployment).launch(vllm_space(deployment).default()) as engine:
        engine.measure(Load(workload=one))
        engine.measure(Load(workload=one.at_concurrency(1)))


@pytest.fixture(autouse=True)
def nothing_learnt_here(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Whoever runs the tests may have calibrated the simulation; these studies begin without."""
    folder = tmp_path_factory.mktemp("data")
    monkeypatch.setenv("XDG_DATA_HOME", str(folder))
    return folder
