"""Real engines of a tiny model, forked off one launcher, and their steps as readable lines."""

import http.client
import importlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from runners import step_log
from runners.step_log import Step, read_step_log

INSIDE = Path(step_log.__file__).parent / "vllm" / "inside"
TOKEN = "of-this-test"
READY_WITHIN_S = 120.0
FLAGS = {
    "--load-format": "dummy",
    "--gpu-memory-utilization": "0.1",
    "--max-model-len": "2048",
    "--max-num-seqs": "64",
    "--max-num-batched-tokens": "1024",
    "--host": "127.0.0.1",
}
SWITCHES = ["--enforce-eager", "--no-enable-prefix-caching", "--enable-log-requests"]
LAUNCHED = {
    "max_num_seqs": 64,
    "max_num_batched_tokens": 1024,
    "long_prefill_token_threshold": 0,
    "batch_wait_timeout_ms": 0,
    "batch_wait_min_requests": 0,
    "batch_policy": "continuous",
}
OURS = [
    *("--scheduler-cls", "paretune_scheduler.Scheduler"),
    *("--middleware", "paretune_knobs.knobs"),
]


class Launcher:
    """The import-once launcher, spoken to over its socket."""

    def __init__(self, python: Path, folder: Path) -> None:
        self.folder, self.socket = folder, folder / "launcher"
        command = [str(python), str(INSIDE / "paretune_fork.py"), str(self.socket)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout
        assert json.loads(self.process.stdout.readline())["ready"]

    def ask(self, asked: object) -> Any:
        with socket.socket(socket.AF_UNIX) as asking:
            asking.connect(str(self.socket))
            asking.sendall(json.dumps(asked).encode() + b"\n")
            return json.loads(asking.makefile().readline())

    def end(self) -> None:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()


class Engine:
    """A server of the tiny model."""

    def __init__(
        self, launcher: Launcher, model: Path, name: str, argv: list[str], env: dict[str, str]
    ) -> None:
        self.port, self.model = free_port(), str(model)
        self.log, self.steps_csv = launcher.folder / f"{name}.log", launcher.folder / f"{name}.csv"
        own = {
            "PYTHONPATH": str(INSIDE),
            "PARETUNE_TOKEN": TOKEN,
            "VLLM_SERVER_DEV_MODE": "1",  # /pause
            "PARETUNE_STEP_LOG": str(self.steps_csv),
            "PARETUNE_STEP_LOG_REQUESTS": "1",
        }
        flags = [word for flag in FLAGS.items() for word in flag]
        argv = [self.model, *flags, *SWITCHES, "--port", str(self.port), *argv]
        asked = {"argv": argv, "env": own | env, "log": str(self.log)}
        self.pid: int = launcher.ask(asked)["pid"]
        self._launcher = launcher
        self._threads = ThreadPoolExecutor(64)
        self._seen = 0
        self.last_steps: tuple[Step, ...] = ()
        self._await_ready()

    def _await_ready(self) -> None:
        give_up_s = time.monotonic() + READY_WITHIN_S
        while self.exit_status() is None and time.monotonic() < give_up_s:
            try:
                if self.http("GET", "/health")[0] == 200:
                    return
            except OSError:
                time.sleep(0.05)
        raise AssertionError(self.log.read_text("utf-8")[-3000:])

    def exit_status(self) -> int | None:
        status: int | None = self._launcher.ask({"wait": self.pid})["status"]
        return status

    def http(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        token: str | None = TOKEN,
        **headers: str,
    ) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        named |= {"Authorization": f"Bearer {token}"} if token else {}
        text = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        try:
            connection.request(method, path, text, {"Content-Type": "application/json", **named})
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        return answer.status, json.loads(content) if content else None

    def turn(self, **knobs: object) -> Any:
        status, answer = self.http("POST", "/paretune/knobs", knobs)
        assert status == 200, answer
        return answer

    def reset(self, **knobs: object) -> None:
        """Back to the settings of the launch; what was logged so far is forgotten."""
        self.turn(**LAUNCHED | knobs)
        self.steps()

    def send(self, name: str, prompt: int, answer: int, priority: int = 0) -> Future[int]:
        """A request of so many tokens, given to the engine when this returns."""
        added = self._added()
        body = {
            "model": self.model,
            "prompt": [7] * prompt,
            "max_tokens": answer,
            "ignore_eos": True,
            "priority": priority,
        }
        sent = self._threads.submit(self._complete, name, body)
        while self._added() == added and not sent.done():
            time.sleep(0.002)
        return sent

    def abandon(self, name: str, prompt: int, answer: int) -> None:
        """Send a request and hang up once the engine has it."""
        body = {"model": self.model, "prompt": [7] * prompt, "max_tokens": answer}
        added = self._added()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {"Content-Type": "application/json", "X-Request-Id": name}
        connection.request("POST", "/v1/completions", json.dumps(body).encode(), headers)
        self.until(lambda: self._added() > added)
        connection.close()

    def until(self, holds: Callable[[], bool]) -> None:
        give_up_s = time.monotonic() + READY_WITHIN_S
        while not holds():
            assert time.monotonic() < give_up_s
            time.sleep(0.002)

    def _added(self) -> int:
        return self.log.read_text("utf-8").count("Added request")

    def _complete(self, name: str, body: dict[str, Any]) -> int:
        status, answer = self.http("POST", "/v1/completions", body, X_Request_Id=name)
        assert status == 200, answer
        tokens: int = answer["usage"]["completion_tokens"]
        return tokens

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Requests sent meanwhile all wait when it ends."""
        assert self.http("POST", "/pause?mode=keep&clear_cache=false")[0] == 200
        yield
        assert self.http("POST", "/resume")[0] == 200

    def serve(self, *requests: tuple[Any, ...]) -> list[str]:
        """The lines of the steps that served these, all of which waited from the start."""
        with self.paused():
            sent = [self.send(*request) for request in requests]
        for answer in sent:
            answer.result(60)
        return self.lines()

    def steps(self) -> tuple[Step, ...]:
        """The steps logged since the last look."""
        self.last_steps = read_step_log(self.steps_csv)[self._seen :]
        self._seen += len(self.last_steps)
        return self.last_steps

    def lines(self) -> list[str]:
        return shown([line(step) for step in self.steps()])

    line = staticmethod(lambda step: line(step))
    shown = staticmethod(lambda lines: shown(lines))
    now_s = staticmethod(time.monotonic)

    def cpu_s(self) -> float:
        """CPU seconds of the engine's processes but the API server."""
        return sum(map(_cpu_s, self.children()))

    def children(self) -> list[int]:
        listed = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text("utf-8")
        return [int(pid) for pid in listed.split()]


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def line(step: Step) -> str:
    """Such as ``prefill a:100 b:28 decode c preempt d``, by the names requests were sent with."""
    assert step.requests
    chunks = [f"{_name(who)}:{tokens}" for who, tokens in step.requests.prefills.items()]
    decodes = [_name(who) for who in step.requests.decodes]
    preempted = [_name(who) for who in step.requests.preempted]
    parts = {"prefill": chunks, "decode": decodes, "preempt": preempted}
    return " ".join(f"{name} {' '.join(who)}" for name, who in parts.items() if who)


def shown(lines: list[str]) -> list[str]:
    """Repeated lines once, with how often."""
    counted = [(text, len(list(same))) for text, same in groupby(lines)]
    return [text if count == 1 else f"{count} x {text}" for text, count in counted]


def _name(request_id: str) -> str:
    named = re.fullmatch(r"cmpl-(.+)-0-[0-9a-f]+", request_id)
    assert named, request_id
    return named[1]


@pytest.fixture(scope="session")
def launcher(vllm_command: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    python = Path(vllm_command.split()[0]).with_name("python")
    forked = Launcher(python, tmp_path_factory.mktemp("engines"))
    yield forked
    forked.end()


@pytest.fixture(scope="module")
def launch(launcher: Launcher, tiny_model: Path) -> Iterator[Callable[..., Engine]]:
    """Starts engines with more flags and environment; one at a time, the last one ends first."""
    alive: list[Engine] = []

    def end() -> None:
        while alive:
            engine = alive.pop()
            if engine.exit_status() is None:
                os.killpg(engine.pid, signal.SIGKILL)
            while engine.exit_status() is None:
                time.sleep(0.02)

    def start(*argv: str, ours: bool = True, **env: str) -> Engine:
        end()
        number = len(list(launcher.folder.glob("*.log")))
        words = [*(OURS if ours else []), *argv]
        alive.append(Engine(launcher, tiny_model, f"engine{number}", words, env))
        return alive[-1]

    yield start
    end()


@pytest.fixture(scope="module")
def shared_engine(launch: Callable[..., Engine]) -> Engine:
    return launch()


@pytest.fixture
def engine(shared_engine: Engine) -> Engine:
    shared_engine.reset()
    return shared_engine


@pytest.fixture(scope="session")
def modules() -> Iterator[Callable[[str], Any]]:
    """Imports one of the modules that otherwise only the engine imports."""
    sys.path.insert(0, str(INSIDE))
    yield importlib.import_module
    sys.path.remove(str(INSIDE))


@pytest.fixture(scope="session")
def eventually() -> Callable[[Callable[[], Any]], Any]:
    """The first answer that is neither ``None`` nor false."""

    def eventually(ask: Callable[[], Any]) -> Any:
        give_up_s = time.monotonic() + READY_WITHIN_S
        while (answer := ask()) is None or answer is False:
            assert time.monotonic() < give_up_s
            time.sleep(0.02)
        return answer

    return eventually
