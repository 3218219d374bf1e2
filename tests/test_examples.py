import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
RUNS = {
    "chat.sh": (["chat"], "stream-interval: 1"),
    "own_traffic.sh": (
        ["answer.txt", "support", "support.yaml", "traffic.csv"],
        "The support traffic served four ways",
    ),
    "read_results.py": (["rag"], "The front: no trial"),
    "static_batching.sh": (["batch_1.json", "batch_64.json"], "times the throughput at"),
}
"""What each example leaves in the empty folder it is run in, and something that it says."""


def test_every_example_is_run() -> None:
    assert sorted(path.name for path in EXAMPLES.iterdir()) == sorted(RUNS)


@pytest.mark.parametrize("name", RUNS)
def test_an_example_runs_in_an_empty_folder(name: str, tmp_path: Path) -> None:
    leaves, says = RUNS[name]
    # `tune` and `python` are those of the environment, and nothing of the repository is found.
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        ["python" if name.endswith(".py") else "bash", str(EXAMPLES / name)],
        cwd=tmp_path,
        env={**environment, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr.count("Traceback")) == (0, 0), done.stderr
    assert says in done.stdout
    assert sorted(entry.name for entry in tmp_path.iterdir()) == leaves
