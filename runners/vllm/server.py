"""One vLLM server: launched, waited for, retuned while it runs, ended with all its processes."""

import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from getpass import getuser
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Literal

from runners import leftovers
from runners.base import EngineError, Failure, FailureKind
from runners.metrics import scrape
from runners.plain_http import Answer, ask
from runners.process import (
    LOOPBACK,
    UNKNOWN_STATUS,
    Session,
    free_port,
    interrupts_held_back,
    move,
)
from runners.vllm.failures import diagnose, oom_kills
from search_spaces import Value

POLL_S = 0.1
ANSWER_S = 10.0
"""How long a running server may take to answer a small question."""
DYING_S = 5.0
"""How long a server that answers with errors may take to end by itself and say why."""
IDLE_WITHIN_S = 60.0
KNOBS = "/paretune/knobs"
OURS = ("--scheduler-cls=paretune_scheduler.Scheduler", "--middleware=paretune_knobs.knobs")
Start = Callable[[Sequence[str], Mapping[str, str]], Session]
"""(arguments after ``vllm serve``, environment) to a session."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to launch."""

    arguments: tuple[str, ...]
    """After ``vllm serve``; host and port are added."""
    env: Mapping[str, str]
    inside: Path | None
    """The folder with our scheduler class; ``None``: the stock scheduler."""
    step_log: Path | None = None
    cores: frozenset[int] = frozenset()
    """Where it serves, once it is launched on all of them; empty: anywhere."""


@contextmanager
def serving(order: Order, start: Start, *, ready_timeout_s: float) -> Iterator["VllmServer"]:
    """A server on a free port of the loopback interface; afterwards no process of it is left.

    Raises:
        EngineError: it cannot be launched; says why in vLLM's own words, and what it took.
    """
    token = secrets.token_urlsafe(32)
    port = free_port()
    arguments = (*order.arguments, f"--host={LOOPBACK}", f"--port={port}")
    began_s, kills = time.monotonic(), oom_kills()
    arguments = (*arguments, *(OURS if order.inside else ()))
    with ExitStack() as ended:
        scratch = ended.enter_context(TemporaryDirectory(prefix="paretune-vllm-"))
        with interrupts_held_back():
            session = start(arguments, _environment(order, token, scratch))
            ended.enter_context(leftovers.noted(session.pid, command="vllm serve"))
            ended.enter_context(session)
        url = f"http://{LOOPBACK}:{port}"
        server = VllmServer(session, url, token, began_s=began_s, oom_kills_before=kills)
        server.wait_until_ready(ready_timeout_s)
        if order.cores:
            move(session.pid, order.cores)
        yield server


def _environment(order: Order, token: str, scratch: str) -> dict[str, str]:
    """
    Args:
        scratch: a folder for the sockets and files that an engine leaves behind when it is killed.
    """
    kept = Path(gettempdir()) / f"torchinductor_{getuser()}"  # torch's own default
    env = {"TORCHINDUCTOR_CACHE_DIR": str(kept), **order.env, "TMPDIR": scratch}
    if order.inside:
        path = [str(order.inside), *filter(None, [env.get("PYTHONPATH")])]
        env |= {"PYTHONPATH": ":".join(path), "PARETUNE_TOKEN": token}
        if order.step_log:
            env["PARETUNE_STEP_LOG"] = str(order.step_log)
    return env


class VllmServer:
    """A server that runs."""

    def __init__(
        self, session: Session, url: str, token: str, *, began_s: float, oom_kills_before: int
    ) -> None:
        self.url = url
        self._session = session
        self._token = token
        self._began_s = began_s
        self._oom_kills_before = oom_kills_before

    @property
    def age_s(self) -> float:
        """Seconds since its launch began."""
        return time.monotonic() - self._began_s

    def wait_until_ready(self, timeout_s: float) -> None:
        """
        Raises:
            EngineError: it died, or is not ready in time.
        """
        while self.age_s < timeout_s:
            if not self._session.alive:
                raise self._error("launch")
            try:
                if ask(f"{self.url}/health", ANSWER_S).status == 200:
                    return
            except ConnectionError:
                pass
            time.sleep(POLL_S)
        raise self._error("launch", timed_out=True)

    def model(self) -> str:
        """The name that the model is served under."""
        answer = self._answer("/v1/models")
        try:
            return str(answer.json()["data"][0]["id"])  # type: ignore[index]
        except (KeyError, IndexError, TypeError):
            reason = f"/v1/models answered {answer.status} and names no model"
            raise EngineError(FailureKind.DIED, reason) from None

    def trouble(self) -> Failure | None:
        """Why it serves no more; ``None`` while its process runs."""
        if self._session.alive:
            return None
        return self._error("serving").failure

    def check(self) -> None:
        """After a run: a server whose engine has just died answers with errors before it ends.

        Raises:
            EngineError: it died, or does not answer.
        """
        try:
            status = ask(f"{self.url}/health", ANSWER_S).status
        except ConnectionError as error:
            raise self._silent(str(error)) from error
        if status != 200:
            raise self._silent(f"{self.url}/health answers HTTP {status}")

    def retune(self, settings: Mapping[str, Value]) -> None:
        """Turn live knobs.

        Raises:
            EngineError: it refuses them with its reason, or does not answer.
        """
        answer = self._answer(KNOBS, body=dict(settings))
        if answer.status != 200:
            said = answer.json()
            reason = said.get("error") if isinstance(said, dict) else None
            raise EngineError(FailureKind.REFUSED, str(reason or f"HTTP {answer.status}")[:500])

    def wait_until_idle(self) -> None:
        """Until what earlier runs left unanswered has gone from its queues.

        Raises:
            EngineError: it does not go, or the engine died.
        """
        deadline_s = time.monotonic() + IDLE_WITHIN_S
        while time.monotonic() < deadline_s:
            if self._in_flight() == 0:
                return
            time.sleep(POLL_S)
        raise EngineError(
            FailureKind.DIED,
            f"requests that were given up are still in its queues after {IDLE_WITHIN_S:g} s",
        )

    def _in_flight(self) -> float:
        try:
            found = scrape(self.url, ANSWER_S)
        except EngineError as error:
            raise self._silent(error.failure.detail) from error
        return found.in_flight if found else 0.0

    def _answer(self, path: str, body: object = None) -> Answer:
        headers = {"Authorization": f"Bearer {self._token}"} if path == KNOBS else {}
        try:
            return ask(self.url + path, ANSWER_S, body=body, headers=headers)
        except ConnectionError as error:
            raise self._silent(str(error)) from error

    def _silent(self, symptom: str) -> EngineError:
        """It has died or is about to; where it goes on living, it hangs."""
        deadline_s = time.monotonic() + DYING_S
        while self._session.alive and time.monotonic() < deadline_s:
            time.sleep(POLL_S)
        failure = self.trouble() or Failure(FailureKind.DIED, f"the server hangs: {symptom}")
        return EngineError(failure.kind, failure.detail)

    def _error(
        self, stage: Literal["launch", "serving"], *, timed_out: bool = False
    ) -> EngineError:
        status = self._session.poll()
        failure = diagnose(
            self._session.lines,
            stage=stage,
            timed_out=timed_out,
            exit_status=None if status == UNKNOWN_STATUS else status,
            oom_kills=oom_kills() - self._oom_kills_before,
        )
        return EngineError(failure.kind, failure.detail, engine_s=self.age_s)
