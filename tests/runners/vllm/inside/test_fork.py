import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runners import step_log

INSIDE = Path(step_log.__file__).parent / "vllm" / "inside"
Launch = Callable[..., Any]
NO_PATH = {"argv": [], "env": {}, "log": 5}
Eventually = Callable[[Callable[[], Any]], Any]


def test_only_this_user_may_ask_the_launcher(launcher: Any) -> None:
    assert stat.S_IMODE(launcher.socket.stat().st_mode) == 0o600


@pytest.mark.parametrize("asked", [None, {}, {"argv": []}, {"wait": 1}, {"wait": []}, NO_PATH])
def test_what_is_no_request_is_answered_with_what_is_one(launcher: Any, asked: object) -> None:
    assert launcher.ask(asked) == {
        "error": "A request must have argv, env and log, or the pid of one of ours to wait "
        "for, in one line of JSON."
    }


def test_a_log_that_cannot_be_written_is_told(launcher: Any, tmp_path: Path) -> None:
    log = tmp_path / "nowhere" / "log"
    assert launcher.ask({"argv": [], "env": {}, "log": str(log)}) == {
        "error": f"The log {log} must be writable, but No such file or directory."
    }


def test_a_refused_flag_is_told_by_the_exit_status_and_the_log(
    launcher: Any, tmp_path: Path, eventually: Eventually
) -> None:
    log = tmp_path / "log"
    pid = launcher.ask({"argv": ["--no-such-flag"], "env": {}, "log": str(log)})["pid"]
    status = eventually(lambda: launcher.ask({"wait": pid})["status"])
    assert status == 2
    assert "unrecognized arguments: --no-such-flag" in log.read_text("utf-8")


def test_a_forked_server_leads_a_session_and_reads_a_config_file(
    launch: Launch, tmp_path: Path
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("max-num-active-seqs: 3\n", "utf-8")
    engine = launch("--config", str(config))
    assert os.getsid(engine.pid) == engine.pid
    assert engine.turn()["knobs"]["max_num_seqs"] == 3


def test_a_forked_server_speculates_and_caches_prefixes(launch: Launch) -> None:
    speculation = '{"method": "ngram", "num_speculative_tokens": 3}'
    engine = launch("--speculative-config", speculation, "--enable-prefix-caching")
    assert engine.send("a", 300, 40).result(60) == 40
    engine.steps()
    # Two blocks of 128 tokens are cached by now.
    assert engine.serve(("b", 300, 1)) == ["prefill b:44"]


def test_a_server_told_to_stop_does_not_wait_for_what_it_holds(
    launch: Launch, eventually: Eventually
) -> None:
    engine = launch(PARETUNE_KNOBS='{"batch_wait_timeout_ms": 5000}')
    engine.abandon("a", 20, 1)
    os.killpg(engine.pid, signal.SIGTERM)
    assert eventually(engine.exit_status) == 0


def test_a_killed_server_takes_its_engine_with_it(launch: Launch, eventually: Eventually) -> None:
    engine = launch()
    children = engine.children()
    assert children
    os.kill(engine.pid, signal.SIGKILL)
    assert eventually(engine.exit_status) == -signal.SIGKILL
    assert eventually(lambda: not any(map(alive, children)))


STUB = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
import paretune_fork

def serve(argv):
    if not os.fork():
        time.sleep(600)
    print("up", *argv, os.environ.get("ADDED"), os.environ.get("TAKEN"), flush=True)
    time.sleep(600)

paretune_fork._serve = serve
launcher = paretune_fork.Launcher(paretune_fork.Path(sys.argv[2]))
print("ready", flush=True)
try:
    launcher.serve()
finally:
    launcher.end()
"""


@pytest.fixture
def stub(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A launcher of servers that only fork once and wait."""
    command = [sys.executable, "-c", STUB, str(INSIDE), str(tmp_path / "socket")]
    env = os.environ | {"TAKEN": "1"}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        yield process
        process.kill()


def launched(folder: Path, eventually: Eventually) -> list[int]:
    """The process ids of a stub server and of what it has forked."""
    log = folder / "log"
    asked = {"argv": ["x"], "env": {"ADDED": "2", "TAKEN": None}, "log": str(log)}
    with socket.socket(socket.AF_UNIX) as asking:
        asking.connect(str(folder / "socket"))
        asking.sendall(json.dumps(asked).encode() + b"\n")
        pid: int = json.loads(asking.makefile().readline())["pid"]
    eventually(lambda: log.read_text("utf-8") == "up x 2 None\n")
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text("utf-8").split()
    assert len(children) == 1
    return [pid, int(children[0])]


def alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8")
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def test_the_launcher_ends_with_all_it_forked_when_its_input_ends(
    stub: subprocess.Popen[bytes], tmp_path: Path, eventually: Eventually
) -> None:
    pids = launched(tmp_path, eventually)
    assert stub.stdin
    stub.stdin.close()
    assert stub.wait(30) == 0
    assert eventually(lambda: not any(map(alive, pids)))


def test_what_a_killed_launcher_forked_dies_with_it(
    stub: subprocess.Popen[bytes], tmp_path: Path, eventually: Eventually
) -> None:
    pids = launched(tmp_path, eventually)
    stub.kill()
    assert eventually(lambda: not any(map(alive, pids)))


def test_a_client_that_stays_silent_delays_the_others_no_longer_than_its_turn(
    stub: subprocess.Popen[bytes], tmp_path: Path, eventually: Eventually
) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(str(tmp_path / "socket"))
        silent.shutdown(socket.SHUT_WR)
        assert all(map(alive, launched(tmp_path, eventually)))
